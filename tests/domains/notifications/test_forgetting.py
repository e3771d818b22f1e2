"""What people have read long ago is forgotten, and nothing else."""

from sqlalchemy import select

from agentvine.db.session import Database
from agentvine.domains.notifications.jobs import ForgettingChore
from agentvine.domains.notifications.models import Notification
from tests.support.builders.notifications import age, make_notifications, make_receiver


async def test_what_was_read_is_forgotten_after_ninety_days(database: Database):
    async with database.transaction() as tx:
        user = await make_receiver(tx)
        old = await make_notifications(tx, user, 2, is_due=False, is_read=True)
        recent = await make_notifications(tx, user, is_due=False, is_read=True)
        unread = await make_notifications(tx, user, is_due=False)
        to_be_sent = await make_notifications(tx, user, is_read=True)
    await age(database, [*old, *unread, *to_be_sent], 91)
    await age(database, recent, 89)
    chore = ForgettingChore(database)

    assert await chore.run() == 2
    assert await chore.run() == 0

    async with database.read() as read:
        left = set(await read.scalars(select(Notification.id)))
    assert left == {*recent, *unread, *to_be_sent}

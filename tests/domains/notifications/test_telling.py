"""Which notifications are left to be sent, where no server runs that would send them."""

import uuid
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from agentvine.db.session import Database
from agentvine.domains.identity.models import User
from agentvine.domains.notifications import service
from agentvine.domains.notifications.enums import Channel, NotificationType, Severity, Wanted
from agentvine.domains.notifications.models import Notification
from agentvine.domains.notifications.preferences import set_wanted
from agentvine.domains.notifications.service import Notice
from tests.support.builders.identity import make_user, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def tell(database: Database, *people: User, severity: Severity, key: str) -> None:
    notice = Notice(
        type=NotificationType.TASK_FAILED,
        key=key,
        severity=severity,
        title="A task has failed",
        message="Look at it.",
        entity=("task", uuid.UUID(int=7)),
    )
    async with database.transaction() as tx:
        await service.notify(tx, notice, people)


async def rows_of(database: Database, person: User) -> Sequence[Notification]:
    async with database.read() as read:
        theirs = select(Notification).where(Notification.user_id == person.id)
        return (await read.scalars(theirs.order_by(Notification.id))).all()


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        (None, [False, True, True]),
        (Wanted.IMPORTANT, [False, True, True]),
        (Wanted.ALL, [True, True, True]),
        (Wanted.NONE, [False, False, False]),
    ],
)
async def test_what_is_left_to_be_sent_is_what_a_person_wants(
    shared_database: Database, wanted: Wanted | None, left: list[bool]
):
    async with shared_database.transaction() as tx:
        ann = await make_user(tx)
        if wanted is not None:
            set_wanted(ann, {Channel.EMAIL: wanted})

    for severity in Severity:
        await tell(shared_database, ann, severity=severity, key=unique("key"))

    rows = await rows_of(shared_database, ann)
    assert [row.severity for row in rows] == list(Severity)
    assert [row.next_attempt_at is not None for row in rows] == left
    assert [row.attempts for row in rows] == [0, 0, 0]


async def test_what_is_to_be_sent_is_due_by_the_databases_clock(shared_database: Database):
    async with shared_database.transaction() as tx:
        ann = await make_user(tx)
    await tell(shared_database, ann, severity=Severity.WARNING, key=unique("key"))

    async with shared_database.read() as read:
        is_due = Notification.next_attempt_at <= read.dialect.now_sql()
        due = select(Notification.id).where(Notification.user_id == ann.id, is_due)
        assert len((await read.scalars(due)).all()) == 1


async def test_many_are_told_at_once_and_whoever_knows_it_already_is_passed_over(
    shared_database: Database,
):
    async with shared_database.transaction() as tx:
        people = [await make_user(tx) for _ in range(3)]
    key = unique("key")
    await tell(shared_database, people[1], severity=Severity.INFO, key=key)

    await tell(shared_database, *people, severity=Severity.CRITICAL, key=key)

    found = [await rows_of(shared_database, each) for each in people]
    told = [[row.severity for row in rows] for rows in found]
    assert told == [[Severity.CRITICAL], [Severity.INFO], [Severity.CRITICAL]]

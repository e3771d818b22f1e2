"""What is due is found by its index, however many notifications have been sent."""

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import insert, text

from agentvine.config.channels import NotificationSettings
from agentvine.db.base import table_of
from agentvine.db.session import Database
from agentvine.domains.notifications import outbox
from agentvine.domains.notifications.enums import Channel
from agentvine.domains.notifications.models import Notification
from agentvine.kit.clock import SystemClock
from agentvine.kit.ids import new_id
from tests.support.builders.notifications import make_notifications, make_receiver
from tests.support.per_file import own_database
from tests.support.query_plans import plan_of, statements_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENT, DUE = 20_000, 12
INDEX = "idx_notifications_next_attempt"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["fresh", "analyzed"])
async def history(
    shared_kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    with own_database(shared_kind, tmp_path_factory.mktemp("history"), request) as settings:
        database = await Database.open(settings, SystemClock())
        try:
            await fill(database)
            if request.param == "analyzed":
                async with database.engine.connect() as connection:
                    await connection.execute(text("ANALYZE"))
                    await connection.commit()
            yield database
        finally:
            await database.close()


async def fill(database: Database) -> None:
    async with database.transaction() as tx:
        users = [await make_receiver(tx) for _ in range(3)]
        sent = [
            {
                "id": new_id(),
                "type": "test",
                "title": "Old",
                "message": "It is long ago.",
                "user_id": users[number % 3].id,
                "sent_email": True,
                "key": f"old {number}",
            }
            for number in range(SENT)
        ]
        await tx.execute(insert(table_of(Notification)), sent)
        for user in users:
            await make_notifications(tx, user, DUE // 3)


async def test_each_look_goes_by_the_index_of_what_is_due(history: Database):
    settings = NotificationSettings()
    with statements_of(history) as seen:
        async with history.read() as read:
            assert await outbox.is_any_due(read)
        async with history.transaction() as tx:
            _, count = await outbox.take_due(tx, settings, [Channel.EMAIL], 100)
    assert count == DUE
    due = [each for each in seen if re.search(r"next_attempt_at <=", each[0])]
    assert len(due) == 2
    for statement, parameters in due:
        plan = await plan_of(history, statement.replace(" FOR UPDATE SKIP LOCKED", ""), parameters)
        assert INDEX in plan, plan
        assert not re.search(r"Seq Scan|SCAN notifications\b(?! USING INDEX)", plan), plan

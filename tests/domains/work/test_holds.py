"""Orders that were held up go on in the lines of their kinds."""

from datetime import timedelta

import pytest

from agentvine.db.session import Database
from agentvine.domains.work import holds, limiting
from agentvine.protocol.enums import LimitScope
from agentvine.protocol.limits import LimitTarget
from tests.support.builders.work import make_crew
from tests.support.query_plans import statements_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_many_are_let_go_with_few_questions_each_into_its_own_line(
    shared_database: Database,
):
    limited, free = await make_crew(shared_database), await make_crew(shared_database)
    target = LimitTarget(scope=LimitScope.QUEUE, key=limited.queue_name)
    async with shared_database.transaction() as tx:
        line = (await limiting.set_limit(tx, target, 1)).id
    ids = await limited.enqueue_copies(20) + await free.enqueue_copies(20)
    async with shared_database.transaction() as tx:
        assert await holds.hold(tx, ids, tx.now + timedelta(hours=1)) == 40

    with statements_of(shared_database) as asked:
        async with shared_database.transaction() as tx:
            assert await holds.let_go(tx, ids) == 40
            now = tx.now

    assert len(asked) < 10
    orders = [await limited.order(each) for each in ids]
    assert {order.line_id for order in orders[:20]} == {line}
    assert {order.line_id for order in orders[20:]} == {None}
    assert all(order.available_at <= now for order in orders)

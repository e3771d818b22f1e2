"""What a worker says by a claim that is not its own any more is refused, and changes nothing."""

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from agentvine.db.session import Database
from agentvine.domains.executions import service as executions
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.work.jobs import QueueChores
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.queue import ClaimedOrder, LeaseState
from tests.support.builders.work import Crew, Hand, make_crew, new_token
from tests.support.snapshots import all_rows

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.promise("P1", "P7")]

Write = Callable[[Hand, ClaimedOrder], Awaitable[Any]]
BUNDLE = b"the content does not matter here"


async def put_bundle(hand: Hand, order: ClaimedOrder) -> Any:
    async with hand.crew.database.transaction(hand.actor) as tx:
        return await executions.store_bundle(
            tx,
            hand.actor,
            order.execution_id,
            claim=(order.order_id, order.fence),
            content=BUNDLE,
            sha256=hashlib.sha256(BUNDLE).hexdigest(),
        )


WRITES: dict[str, Write] = {
    "complete": lambda hand, order: hand.complete(order, exit_code=0),
    "fail": lambda hand, order: hand.fail(order),
    "fail for a while": lambda hand, order: hand.fail(order, FailureClass.WORKER_ERROR),
    "release": lambda hand, order: hand.release(order),
    "log": lambda hand, order: hand.log(order, "late"),
    "bundle": put_bundle,
}


async def rescued(crew: Crew, worker: Hand, order: ClaimedOrder) -> tuple[Hand, ClaimedOrder]:
    await crew.let_lease_lapse(order.order_id)
    assert await QueueChores(crew.database, crew.settings).rescue() >= 1
    return worker, order


async def claimed_by_another(
    crew: Crew, worker: Hand, order: ClaimedOrder
) -> tuple[Hand, ClaimedOrder]:
    await rescued(crew, worker, order)
    assert (await (await crew.worker()).claim_one()).order_id == order.order_id
    return worker, order


async def claimed_again_by_the_same(
    crew: Crew, worker: Hand, order: ClaimedOrder
) -> tuple[Hand, ClaimedOrder]:
    await rescued(crew, worker, order)
    assert (await worker.claim_one()).order_id == order.order_id
    return worker, order


async def guessed_by_an_earlier_holder(
    crew: Crew, worker: Hand, order: ClaimedOrder
) -> tuple[Hand, ClaimedOrder]:
    """A token that once held the order knows its id, and can count."""
    await rescued(crew, worker, order)
    now = await (await crew.worker()).claim_one()
    return worker, order.model_copy(update={"fence": now.fence})


async def known_by_a_stranger(
    crew: Crew, worker: Hand, order: ClaimedOrder
) -> tuple[Hand, ClaimedOrder]:
    return replace(worker, actor=new_token()), order


async def of_an_order_that_is_none(
    crew: Crew, worker: Hand, order: ClaimedOrder
) -> tuple[Hand, ClaimedOrder]:
    return worker, order.model_copy(update={"order_id": new_id()})


STALE = (
    rescued,
    claimed_by_another,
    claimed_again_by_the_same,
    guessed_by_an_earlier_holder,
    known_by_a_stranger,
    of_an_order_that_is_none,
)


@pytest.mark.parametrize("make_stale", STALE, ids=lambda make: make.__name__)
async def test_no_write_of_a_stale_claim_is_taken(
    shared_database: Database,
    make_stale: Callable[[Crew, Hand, ClaimedOrder], Awaitable[tuple[Hand, ClaimedOrder]]],
):
    crew = await make_crew(shared_database)
    await crew.enqueue()
    worker = await crew.worker()
    hand, order = await make_stale(crew, worker, await worker.claim_one())
    before = await all_rows(shared_database)
    for name, write in WRITES.items():
        with pytest.raises(LeaseLost):
            await write(hand, order)
        assert await all_rows(shared_database) == before, name


@pytest.mark.parametrize("make_stale", STALE[:4], ids=lambda make: make.__name__)
async def test_a_beat_for_a_stale_claim_hears_lost_and_extends_nothing(
    shared_database: Database,
    make_stale: Callable[[Crew, Hand, ClaimedOrder], Awaitable[tuple[Hand, ClaimedOrder]]],
):
    crew = await make_crew(shared_database)
    await crew.enqueue()
    worker = await crew.worker()
    hand, order = await make_stale(crew, worker, await worker.claim_one())
    before = await all_rows(shared_database, besides=["workers"])
    assert await hand.beat(order) == [LeaseState.LOST]
    assert await all_rows(shared_database, besides=["workers"]) == before


@pytest.mark.parametrize("first", list(WRITES))
async def test_what_was_taken_once_is_answered_the_same_again(
    shared_database: Database, first: str
):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue()
    worker = await crew.worker()
    order = await worker.claim_one()
    answer = await WRITES[first](worker, order)
    before = await all_rows(shared_database)
    again = await WRITES[first](worker, order)
    if first != "bundle":
        assert again == answer
    assert await all_rows(shared_database) == before
    assert (await crew.order(order_id)).fence == order.fence


async def by_nobody(crew: Crew, worker: Hand, order_id: uuid.UUID) -> None:
    await crew.cancel_task(order_id)


async def by_another(crew: Crew, worker: Hand, order_id: uuid.UUID) -> None:
    another = await crew.worker()
    await another.complete(await another.claim_one())


async def by_itself(crew: Crew, worker: Hand, order_id: uuid.UUID) -> None:
    await worker.fail(await worker.claim_one())


@pytest.mark.parametrize("name", ["fail for a while", "release"])
@pytest.mark.parametrize("end", [by_nobody, by_another, by_itself], ids=lambda end: end.__name__)
async def test_a_repeated_report_is_answered_as_it_was_whatever_has_become_of_the_order(
    shared_database: Database,
    name: str,
    end: Callable[[Crew, Hand, uuid.UUID], Awaitable[None]],
):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue(run_max_retries=5)
    worker = await crew.worker()
    order = await worker.claim_one()
    answer = await WRITES[name](worker, order)
    assert answer.will_retry
    await end(crew, worker, order_id)
    assert (await crew.order(order_id)).status is not OrderStatus.PENDING
    before = await all_rows(shared_database)
    assert await WRITES[name](worker, order) == answer
    with pytest.raises(LeaseLost):
        await WRITES[name](replace(worker, actor=new_token()), order)
    assert await all_rows(shared_database) == before


@pytest.mark.parametrize("first", ["complete", "fail", "release"])
async def test_a_second_report_of_another_kind_is_refused(shared_database: Database, first: str):
    crew = await make_crew(shared_database)
    await crew.enqueue()
    worker = await crew.worker()
    order = await worker.claim_one()
    await WRITES[first](worker, order)
    before = await all_rows(shared_database)
    others = {"complete", "fail", "release"} - {first}
    if first != "complete":
        # Both leave the order not completed; which of the two came first does not matter.
        others = {"complete"}
    for other in others:
        with pytest.raises(LeaseLost):
            await WRITES[other](worker, order)
        assert await all_rows(shared_database) == before


@pytest.mark.parametrize("name", ["complete", "fail", "fail for a while", "release"])
async def test_reports_sent_twice_at_once_are_taken_once(shared_database: Database, name: str):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue()
    worker = await crew.worker()
    order = await worker.claim_one()
    answers = await asyncio.gather(*(WRITES[name](worker, order) for _ in range(3)))
    assert answers[0] == answers[1] == answers[2]
    (execution,) = await crew.executions_of(order_id)
    assert execution.completed_at is not None
    assert (await crew.order(order_id)).fence == order.fence


async def test_lines_may_come_after_the_order_has_ended(shared_database: Database):
    """A worker's outbox empties late; until somebody else claims the order, they are kept."""
    crew = await make_crew(shared_database)
    await crew.enqueue()
    worker = await crew.worker()
    order = await worker.claim_one()
    await worker.complete(order)
    assert await worker.log(order, "the end") == 1


async def test_a_bundle_cannot_be_replaced_after_the_order_has_ended(shared_database: Database):
    crew = await make_crew(shared_database)
    await crew.enqueue()
    worker = await crew.worker()
    order = await worker.claim_one()
    await worker.complete(order)
    with pytest.raises(LeaseLost):
        await put_bundle(worker, order)


async def test_the_fence_grows_with_every_claim_and_every_rescue(shared_database: Database):
    crew = await make_crew(shared_database)
    order_id = await crew.enqueue(run_max_retries=10)
    worker = await crew.worker()
    seen = [0]
    for _ in range(2):
        order = await worker.claim_one()
        seen.append(order.fence)
        await rescued(crew, worker, order)
        seen.append((await crew.order(order_id)).fence)
    await worker.release(await worker.claim_one())
    seen.append((await crew.order(order_id)).fence)
    await worker.complete(await worker.claim_one())
    seen.append((await crew.order(order_id)).fence)
    assert seen == sorted(set(seen))
    assert (await crew.order(order_id)).status is OrderStatus.COMPLETED
    fences = [execution.fence for execution in await crew.executions_of(order_id)]
    assert len(fences) == len(set(fences)) == 4

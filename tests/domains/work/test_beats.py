"""A beat in one statement says and writes what the long way does, or leaves it to that."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import update

from agentvine.db.session import Database
from agentvine.domains.identity.models import ApiToken, User
from agentvine.domains.work import controls
from agentvine.domains.work.beats import Beat
from agentvine.domains.work.models import WorkOrder
from agentvine.domains.workers import service as worker_service
from agentvine.domains.workers.enums import WorkerStatus
from agentvine.domains.workers.models import Worker
from agentvine.kit.ids import new_id
from agentvine.protocol.controls import WorkerControls
from agentvine.protocol.enums import ExecutionPhase, UserRole
from agentvine.protocol.queue import ClaimedOrder, HeartbeatIn, HeartbeatOut, Held, LeaseState
from tests.support.api import Api
from tests.support.builders.identity import make_user, unique
from tests.support.builders.work import Crew, Hand, long_ago, make_crew
from tests.support.space import WireWorker

T = TypeVar("T")

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEPT, LOST, CANCEL = LeaseState.KEPT, LeaseState.LOST, LeaseState.CANCEL


def beat_of(
    hand: Hand, *orders: ClaimedOrder, phase: ExecutionPhase = ExecutionPhase.STARTING
) -> Beat:
    held = [Held(order_id=order.order_id, fence=order.fence, phase=phase) for order in orders]
    message = HeartbeatIn(worker_id=hand.worker_id, session_id=hand.session_id, held=held)
    return Beat(hand.crew.credentials_of(hand.actor), message)


async def by_statement(
    hand: Hand, *orders: ClaimedOrder, phase: ExecutionPhase = ExecutionPhase.STARTING
) -> HeartbeatOut | None:
    """What the statement alone answers; None where it leaves the beat to the long way."""
    beat = beat_of(hand, *orders, phase=phase)
    return await hand.crew.beats.take_plain(beat.credentials, beat.message)


async def together(*beats: Beat, crew: Crew) -> list[list[LeaseState] | None]:
    """What one statement answers to several workers."""
    return [
        None if answer is None else [lease.state for lease in answer.leases]
        for answer in await crew.beats.take_many(beats)
    ]


async def states(hand: Hand, *orders: ClaimedOrder) -> list[LeaseState] | None:
    answer = await by_statement(hand, *orders)
    return None if answer is None else [lease.state for lease in answer.leases]


async def is_to_drain(hand: Hand) -> bool | None:
    answer = await by_statement(hand)
    return None if answer is None else answer.drain


async def crew_at_work(database: Database, count: int = 1) -> tuple[Hand, list[ClaimedOrder]]:
    crew = await make_crew(database)
    await crew.enqueue_many(count)
    worker = await crew.worker(controls=WorkerControls(can_pause=True, steers=["command"]))
    return worker, await worker.claim(count)


async def worker_row(hand: Hand) -> Worker:
    async with hand.crew.database.read() as read:
        return await read.get_one(Worker, hand.worker_id)


async def change_worker(hand: Hand, **values: Any) -> None:
    async with hand.crew.database.transaction() as tx:
        await tx.execute(update(Worker).where(Worker.id == hand.worker_id).values(**values))


async def change_token(hand: Hand, **values: Any) -> None:
    async with hand.crew.database.transaction() as tx:
        await tx.execute(
            update(ApiToken).where(ApiToken.id == hand.actor.token_id).values(**values)
        )


@pytest.mark.parametrize("takes_shortcuts", [True, False])
async def test_a_beat_renews_leases_and_shows_its_worker_alive(
    crew_database: Database, *, takes_shortcuts: bool
):
    worker, orders = await crew_at_work(crew_database, 2)
    worker.crew.takes_shortcuts = takes_shortcuts
    for order in orders:
        await worker.crew.let_lease_lapse(order.order_id)
    await change_worker(worker, last_heartbeat_at=long_ago(), status=WorkerStatus.OFFLINE)

    assert await worker.beat(*orders, phase=ExecutionPhase.STARTING) == [KEPT, KEPT]
    now = crew_database.clock.now()
    for order in orders:
        lease = (await worker.crew.order(order.order_id)).lease_expires_at
        assert lease is not None
        assert lease > now + timedelta(seconds=worker.crew.settings.lease_seconds / 2)
    row = await worker_row(worker)
    assert row.status is WorkerStatus.BUSY
    assert row.last_heartbeat_at is not None
    assert row.last_heartbeat_at > long_ago() + timedelta(minutes=30)

    assert await worker.beat() == []
    assert (await worker_row(worker)).status is WorkerStatus.IDLE


async def test_a_beat_that_changes_no_status_is_noted_for_later(crew_database: Database):
    worker, orders = await crew_at_work(crew_database)
    assert await states(worker, *orders) == [KEPT]
    await change_worker(worker, last_heartbeat_at=long_ago())

    assert await states(worker, *orders) == [KEPT]
    assert await is_shown_alive(worker) is False
    await worker.crew.heard.write()
    assert await is_shown_alive(worker) is True


async def is_shown_alive(hand: Hand) -> bool:
    at = (await worker_row(hand)).last_heartbeat_at
    return at is not None and at > long_ago() + timedelta(minutes=30)


async def test_each_claim_gets_its_own_answer(crew_database: Database):
    worker, (kept, stale, cancelled, ended) = await crew_at_work(crew_database, 4)
    other, (foreign,) = await crew_at_work(crew_database)
    await worker.crew.cancel_task(cancelled.order_id)
    await worker.complete(ended)
    lease = (await worker.crew.order(stale.order_id)).lease_expires_at
    stale = stale.model_copy(update={"fence": stale.fence - 1})

    answer = await states(worker, kept, stale, cancelled, ended, foreign)

    assert answer == [KEPT, LOST, CANCEL, LOST, LOST]
    assert (await worker.crew.order(stale.order_id)).lease_expires_at == lease
    assert await states(other, foreign) == [KEPT]


async def test_beats_that_share_a_statement_are_answered_as_if_each_came_alone(
    crew_database: Database,
):
    one, (kept, cancelled) = await crew_at_work(crew_database, 2)
    two, (own,) = await crew_at_work(crew_database)
    waiting, (held,) = await crew_at_work(crew_database)
    superseded, (lost,) = await crew_at_work(crew_database)
    idle, crew = await one.crew.worker(), one.crew
    await crew.cancel_task(cancelled.order_id)
    await _superseded(superseded)
    beats = [
        beat_of(one, kept, cancelled),
        beat_of(two, own, kept),
        beat_of(waiting, held),
        beat_of(superseded, lost),
        beat_of(idle),
    ]
    lease = (await crew.order(lost.order_id)).lease_expires_at
    async with crew_database.transaction() as tx:
        await tx.execute(
            update(WorkOrder).where(WorkOrder.id == held.order_id).values(error_message="x")
        )
        answers = await _apart(together(*beats, crew=crew))

    assert answers == [[KEPT, CANCEL], [KEPT, LOST], None, None, []]
    assert (await crew.order(lost.order_id)).lease_expires_at == lease
    shown = [(await worker_row(hand)).status for hand in (one, two, idle)]
    assert shown == [WorkerStatus.BUSY, WorkerStatus.BUSY, WorkerStatus.IDLE]


async def test_one_callers_values_are_not_everybodys_error(crew_database: Database):
    worker, orders = await crew_at_work(crew_database)
    good = beat_of(worker, *orders)
    bad = replace(good, credentials=replace(good.credentials, prefix="no\0text"))
    assert await together(bad, good, crew=worker.crew) == [None, [KEPT]]


async def test_of_what_a_worker_says_twice_at_once_each_is_answered_for_itself(
    crew_database: Database,
):
    worker, orders = await crew_at_work(crew_database)
    async with asyncio.timeout(60):
        plain, news = await asyncio.gather(
            states(worker, *orders), by_statement(worker, *orders, phase=ExecutionPhase.RUNNING)
        )
    assert plain == [KEPT]
    assert news is None


async def test_a_worker_that_is_to_drain_is_told_so(crew_database: Database):
    worker, _ = await crew_at_work(crew_database)
    assert await is_to_drain(worker) is False
    async with crew_database.transaction() as tx:
        row = await tx.get_one(Worker, worker.worker_id)
        await worker_service.set_draining(tx, row, is_draining=True)
    assert await is_to_drain(worker) is True


async def test_what_somebody_else_holds_is_left_to_the_long_way_and_not_waited_for(
    crew_database: Database,
):
    worker, (order, other) = await crew_at_work(crew_database, 2)
    async with crew_database.transaction() as tx:
        await tx.execute(
            update(WorkOrder).where(WorkOrder.id == order.order_id).values(error_message="x")
        )
        assert await _apart(states(worker, order, other)) is None
        again = worker.beat(order, other, phase=ExecutionPhase.STARTING)
        assert await _apart(again) == [KEPT, KEPT]


async def test_a_beat_does_not_wait_for_its_workers_row(crew_database: Database):
    worker, orders = await crew_at_work(crew_database)
    async with crew_database.transaction() as tx:
        await tx.get_one(Worker, worker.worker_id, with_for_update=True)
        assert await _apart(states(worker, *orders)) == [KEPT]


async def _apart(work: Coroutine[Any, Any, T]) -> T:
    """What another caller gets while a transaction of ours is open."""
    async with asyncio.timeout(20):
        return await asyncio.create_task(work, context=contextvars.Context())


async def test_news_of_a_run_goes_the_long_way(crew_database: Database):
    worker, orders = await crew_at_work(crew_database)
    assert await by_statement(worker, *orders, phase=ExecutionPhase.RUNNING) is None
    await worker.beat(*orders, phase=ExecutionPhase.RUNNING)
    assert await by_statement(worker, *orders, phase=ExecutionPhase.RUNNING) is not None

    async with worker.crew.ground.transaction() as tx:
        await controls.pause_run(tx, worker.crew.ground.owner, orders[0].order_id)
    assert await by_statement(worker, *orders, phase=ExecutionPhase.RUNNING) is None


async def _revoked(hand: Hand) -> None:
    await change_token(hand, revoked_at=long_ago())


async def _expired(hand: Hand) -> None:
    await change_token(hand, expires_at=long_ago())


async def _another_kind(hand: Hand) -> None:
    await change_token(hand, kind="gateway")


async def _another_secret(hand: Hand) -> None:
    await change_token(hand, token_hash="0" * 64)


async def _maker_gone(hand: Hand) -> None:
    async with hand.crew.database.transaction() as tx:
        user = await make_user(tx)
        await tx.execute(update(User).where(User.id == user.id).values(is_active=False))
    await change_token(hand, user_id=user.id)


async def _registered_by_another(hand: Hand) -> None:
    await change_worker(hand, token_id=new_id())


async def _superseded(hand: Hand) -> None:
    await change_worker(hand, session_id=new_id())


async def _deleted(hand: Hand) -> None:
    await change_worker(hand, deleted_at=long_ago())


@pytest.mark.parametrize(
    "ruin",
    [
        _revoked,
        _expired,
        _another_kind,
        _another_secret,
        _maker_gone,
        _registered_by_another,
        _superseded,
        _deleted,
    ],
    ids=lambda ruin: ruin.__name__.strip("_"),
)
async def test_who_may_not_beat_renews_nothing(
    crew_database: Database, ruin: Callable[[Hand], Awaitable[None]]
):
    worker, orders = await crew_at_work(crew_database)
    assert await states(worker, *orders) == [KEPT]
    lease = (await worker.crew.order(orders[0].order_id)).lease_expires_at

    await ruin(worker)

    assert await states(worker, *orders) is None
    assert (await worker.crew.order(orders[0].order_id)).lease_expires_at == lease


async def test_over_http_a_revoked_key_is_refused_by_the_next_beat(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    made = await admin.post("/tokens", {"name": unique("key"), "kind": "worker"})
    caller = await shared_api.with_token(made["token"])
    worker = WireWorker(caller, unique("queue"), {})
    await worker.register()
    assert (await worker.beat())["leases"] == []

    await admin.call("DELETE", f"/tokens/{made['info']['id']}")
    refused = await caller.refused("POST", "/queue/heartbeat", 401, json=worker.who)
    assert refused["code"] == "token_invalid"
    await admin.refused("POST", "/queue/heartbeat", 403, json=worker.who)

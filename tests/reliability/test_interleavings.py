"""Everybody ends the same order at once: one of them does, and the others hear so.

The shape of a known race elsewhere: a rescue that overwrites what was completed in between. Each
round ends several orders, each by several hands that begin at the same moment.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import update

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.work.jobs import QueueChores
from agentvine.domains.work.models import WorkOrder
from agentvine.kit.clock import SystemClock
from agentvine.kit.errors import Conflict, Unavailable
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.queue import ClaimedOrder
from agentvine.reactions.routing import build_reactions
from tests.support.builders.work import SETTINGS, Crew, Hand, long_ago, make_crew
from tests.support.histories.checker import find_violations
from tests.support.histories.history import Kind
from tests.support.histories.observer import observe, observed
from tests.support.histories.report import report

ROUNDS = int(os.environ.get("AGENTVINE_INTERLEAVINGS", "12"))
SEED = int(os.environ.get("AGENTVINE_CHAOS_SEED", "1"))
ORDERS = 6

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300 + 5 * ROUNDS),
    pytest.mark.promise("P6", "P7"),
]

Act = Callable[[Crew, Hand, ClaimedOrder], Awaitable[Any]]


async def rescue(crew: Crew, hand: Hand, order: ClaimedOrder) -> None:
    await crew.let_lease_lapse(order.order_id)
    await QueueChores(crew.database, crew.settings).rescue()


ACTS: dict[str, Act] = {
    "complete": lambda crew, hand, order: hand.complete(order),
    "complete again": lambda crew, hand, order: hand.complete(order),
    "fail": lambda crew, hand, order: hand.fail(order),
    "fail for a while": lambda crew, hand, order: hand.fail(order, FailureClass.WORKER_ERROR),
    "release": lambda crew, hand, order: hand.release(order),
    "rescue": rescue,
    "cancel": lambda crew, hand, order: crew.cancel_task(order.order_id),
    "restart": lambda crew, hand, order: hand.restart(),
    "beat": lambda crew, hand, order: hand.beat(order),
    "log": lambda crew, hand, order: hand.log(order, "a line"),
}


async def attempt(act: Act, crew: Crew, hand: Hand, order: ClaimedOrder) -> str:
    """What became of one hand: done, refused, or turned away because others were at it."""
    try:
        await act(crew, hand, order)
    except LeaseLost:
        return "lost"
    except Unavailable:
        return "busy"
    except Conflict:
        return "refused"
    return "done"


async def test_an_order_ends_once_whoever_ends_it_at_the_same_time(
    database_settings: DatabaseSettings, database_kind: str
):
    draw = random.Random(SEED)
    database = await Database.open(database_settings, SystemClock(), build_reactions(SETTINGS))
    await observe(database)
    crew = await make_crew(database)
    outcomes: Counter[str] = Counter()
    for _ in range(ROUNDS):
        hands = [await crew.worker() for _ in range(ORDERS)]
        await crew.enqueue_many(ORDERS, run_max_retries=0)
        claimed = [(hand, await hand.claim_one()) for hand in hands]
        acts = [
            (name, hand, order)
            for hand, order in claimed
            for name in draw.sample(sorted(ACTS), draw.randint(2, 5))
        ]
        draw.shuffle(acts)
        results = await asyncio.gather(
            *(attempt(ACTS[name], crew, hand, order) for name, hand, order in acts)
        )
        outcomes.update(f"{name}: {told}" for (name, *_), told in zip(acts, results, strict=True))
        await settle_all(crew)
    history = await observed(database)
    history.add(float("inf"), Kind.OVER)
    await database.close()

    told = f"AGENTVINE_CHAOS_SEED={SEED}"
    assert not find_violations(history), f"{told}\n{find_violations(history)}"
    assert outcomes["complete: done"], told
    assert outcomes["complete: lost"], told
    acts_done = sum(outcomes.values())
    report("interleavings", database=database_kind, seed=SEED, rounds=ROUNDS, acts=acts_done)


async def settle_all(crew: Crew) -> None:
    """Let a last worker finish what waits again."""
    last = await crew.worker(max_concurrent_tasks=1000)
    chores = QueueChores(crew.database, crew.settings)
    async with crew.database.transaction() as tx:
        is_held = WorkOrder.status == OrderStatus.CLAIMED
        await tx.execute(update(WorkOrder).where(is_held).values(lease_expires_at=long_ago()))
    while await chores.rescue():
        pass
    while orders := await last.claim(100):
        for order in orders:
            await last.complete(order)

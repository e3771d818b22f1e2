"""Drives the real queue and the reference side by side, and compares them after each step."""

import asyncio
import uuid
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select

from agentvine.db.session import Database
from agentvine.domains.work.errors import LeaseLost
from agentvine.domains.work.jobs import QueueChores
from agentvine.domains.work.models import WorkOrder
from agentvine.kit.ids import random_token
from agentvine.protocol.enums import FailureClass, TaskPriority
from agentvine.protocol.queue import ClaimedOrder, OrderOutcome
from tests.reliability.model.reference import Lost, Order, Queue
from tests.support.builders.work import Crew, Hand, long_ago, make_crew

T = TypeVar("T")
_NAMES = st.sampled_from(["w1", "w2"])
_TRANSIENT = {True: FailureClass.WORKER_ERROR, False: FailureClass.COMMAND_FAILED}


class QueueMachine(RuleBasedStateMachine):
    """One queue of its own per example, in a database that all examples share."""

    def __init__(self, runner: asyncio.Runner, database: Database) -> None:
        super().__init__()
        self._runner = runner
        self._database = database
        self.model = Queue(slots={"w1": 1, "w2": 3})
        self.ids: dict[int, uuid.UUID] = {}
        self.claims: list[tuple[str, Order, ClaimedOrder]] = []
        """Every claim ever granted: also stale ones are spoken of."""
        self.tokens = {name: random_token(24) for name in self.model.slots}

    @initialize()
    def begin(self) -> None:
        self.crew: Crew = self.do(make_crew(self._database))
        self.chores = QueueChores(self._database, self.crew.settings)
        self.hands: dict[str, Hand] = {
            name: self.do(self.crew.worker(max_concurrent_tasks=slots))
            for name, slots in self.model.slots.items()
        }

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    @rule(priority=st.sampled_from([*TaskPriority]), max_retries=st.sampled_from([0, 1, 20]))
    def enqueue(self, priority: TaskPriority, max_retries: int) -> None:
        order = self.model.enqueue(priority.value, max_retries)
        made = self.crew.enqueue(priority=priority, run_max_retries=max_retries)
        self.ids[order.number] = self.do(made)

    @rule(name=_NAMES, slots=st.integers(1, 3), is_repeated=st.booleans())
    def claim(self, name: str, slots: int, is_repeated: bool) -> None:
        if not is_repeated:
            self.tokens[name] = random_token(24)
        token = self.tokens[name]
        got = self.do(self.hands[name].claim(slots, token=token))
        expected = self.model.claim(name, token, slots)
        wanted = [(self.ids[order.number], order.fence) for order in expected]
        assert [(order.order_id, order.fence) for order in got] == wanted
        known = {claimed.execution_id for _, _, claimed in self.claims}
        for order, claimed in zip(expected, got, strict=True):
            if claimed.execution_id not in known:
                self.claims.append((name, order, claimed))

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        name, order, claimed = data.draw(st.sampled_from(self.claims))
        (state,) = self.do(self.hands[name].beat(claimed))
        holds = order.holder == name
        assert state.value == (self.model.beat(order, claimed.fence) if holds else "lost")

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), what=st.sampled_from(["complete", "fail", "give up", "release"]))
    def report(self, data: st.DataObject, what: str) -> None:
        name, order, claimed = data.draw(st.sampled_from(self.claims))
        hand, fence = self.hands[name], claimed.fence
        real: Coroutine[Any, Any, OrderOutcome]
        if what == "complete":
            real = hand.complete(claimed)
        elif what == "release":
            real = hand.release(claimed)
        else:
            real = hand.fail(claimed, _TRANSIENT[what == "fail"])
        try:
            if what == "complete":
                expected = self.model.complete(order, fence)
            elif what == "release":
                expected = self.model.release(order, fence)
            else:
                expected = self.model.fail(order, fence, is_transient=what == "fail")
        except Lost:
            expected = "lost"
        try:
            told = self.do(real).status.value
        except LeaseLost:
            told = "lost"
        assert told == expected

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def lease_ends(self, data: st.DataObject) -> None:
        _, order, claimed = data.draw(st.sampled_from(self.claims))
        if order.is_held(claimed.fence):
            self.model.lose(order)
            self.do(self.crew.let_lease_lapse(claimed.order_id))
            assert self.do(self.chores.rescue()) == 1

    @rule(name=_NAMES)
    def restart(self, name: str) -> None:
        held = [order for order in self.model.orders if order.holder == name]
        for order in held:
            self.model.lose(order)
        self.do(self.hands[name].restart())

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self._open()))
        self.model.cancel(order)
        self.do(self.crew.cancel_task(self.ids[order.number]))

    @precondition(lambda self: self._open())
    @rule(data=st.data())
    def expire(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self._open()))
        order_id = self.ids[order.number]
        if order.status == "pending":
            self.model.expire(order)
            self.do(self.crew.change_order(order_id, expires_at=long_ago()))
            assert self.do(self.chores.expire()) == 1

    @invariant()
    def rows_are_as_the_model_says(self) -> None:
        if self.ids:
            assert self.do(self._rows()) == {
                self.ids[order.number]: order.row for order in self.model.orders
            }

    def _open(self) -> list[Order]:
        return [order for order in self.model.orders if order.status in ("pending", "claimed")]

    async def _rows(self) -> dict[uuid.UUID, tuple[str, int, int, int]]:
        columns = (WorkOrder.status, WorkOrder.fence, WorkOrder.retry_count, WorkOrder.lost_count)
        query = select(WorkOrder.id, *columns).where(WorkOrder.id.in_(self.ids.values()))
        async with self._database.read() as read:
            rows = (await read.execute(query)).all()
        return {row.id: (row.status.value, *row[2:]) for row in rows}

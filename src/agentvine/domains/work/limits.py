"""Limits: how much of one kind of work may run at a time, and pauses, which are limits of none.

Invariants: ``running`` of a limit is the number of claimed orders whose ``held_limits`` name it;
whoever claims checks and raises it under the row's lock; whoever ends a claim lowers it in the same
transaction. Rows are locked in the order of their ids, after the orders and tasks that a command
works on, but before those that a claim picks: it passes over what others hold, and so never waits
for them.

Orders under a limit stand in its line (``WorkOrder.line_id``), out of the way of all others.
"""

import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, and_, exists, literal, or_, select, update

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.tasks.models import Task
from agentvine.domains.work.enums import LimitId, LimitScope, OrderStatus
from agentvine.domains.work.models import Limit, WorkOrder

_BOUNDLESS = 1_000_000_000

LINES = "lines"
"""The channel of the chore that sees to it that every order stands in its line."""


@dataclass(frozen=True, slots=True)
class OrderPlace:
    """What limits may apply to an order."""

    queue_name: str
    worker_type: str | None
    project_id: uuid.UUID
    repository_id: uuid.UUID | None
    agent_id: uuid.UUID | None

    def pairs(self) -> list[tuple[LimitScope, str]]:
        """Each scope with this order's key in it."""
        found = [
            (LimitScope.QUEUE, self.queue_name),
            (LimitScope.WORKER_TYPE, self.worker_type),
            (LimitScope.PROJECT, self.project_id),
            (LimitScope.REPOSITORY, self.repository_id),
            (LimitScope.AGENT, self.agent_id),
        ]
        return [(scope, str(key)) for scope, key in found if key is not None]


@dataclass(slots=True)
class LimitState:
    """A limit at one moment."""

    id: LimitId
    scope: LimitScope
    key: str
    capacity: int | None
    running: int
    is_paused: bool
    stops_runs: bool = False
    has_line: bool = False
    """Whether somebody stands in its line."""

    @property
    def is_in_force(self) -> bool:
        """Whether it says anything; one that does not is about to be removed."""
        return self.is_paused or self.capacity is not None

    @property
    def room(self) -> int:
        """How many more may begin."""
        if self.is_paused:
            return 0
        return _BOUNDLESS if self.capacity is None else max(0, self.capacity - self.running)


@dataclass(frozen=True, slots=True)
class Outside:
    """What has limits, and so is not looked for among the orders that have none."""

    queues: tuple[str, ...] = ()
    worker_types: tuple[str, ...] = ()
    projects: tuple[uuid.UUID, ...] = ()
    repositories: tuple[uuid.UUID, ...] = ()
    agents: tuple[uuid.UUID, ...] = ()


NOTHING_LIMITED = Outside()


@dataclass(slots=True)
class LimitBook:
    """All limits at one moment."""

    states: Sequence[LimitState]
    _by_key: dict[tuple[LimitScope, str], LimitState] = field(init=False)

    def __post_init__(self) -> None:
        """Index them."""
        self._by_key = {(s.scope, s.key): s for s in self.states if s.is_in_force}

    @property
    def is_closed(self) -> bool:
        """Whether nothing at all may begin."""
        fleet = self._by_key.get((LimitScope.FLEET, ""))
        return fleet is not None and fleet.is_paused

    @property
    def stops_runs(self) -> bool:
        """Whether what runs is to stop, too."""
        return any(state.is_paused and state.stops_runs for state in self.states)

    @property
    def open_lines(self) -> list[LimitState]:
        """Those in whose line somebody stands who might begin."""
        return [s for s in self.states if s.has_line and s.room > 0]

    @property
    def outside(self) -> Outside:
        """What the orders without limits are not."""
        keys = {scope: [k for s, k in self._by_key if s is scope] for scope in LimitScope}
        return Outside(
            queues=tuple(sorted(keys[LimitScope.QUEUE])),
            worker_types=tuple(sorted(keys[LimitScope.WORKER_TYPE])),
            projects=_ids(keys[LimitScope.PROJECT]),
            repositories=_ids(keys[LimitScope.REPOSITORY]),
            agents=_ids(keys[LimitScope.AGENT]),
        )

    def renewed(self, newer: Mapping[int, LimitState]) -> "LimitBook":
        """The same book with what is known better now."""
        states: list[LimitState] = []
        for state in self.states:
            known = newer.get(state.id, state)
            known.has_line = state.has_line
            states.append(known)
        return LimitBook(states)

    def of(self, place: OrderPlace) -> list[LimitState]:
        """The limits that apply to an order."""
        found = [self._by_key[key] for key in place.pairs() if key in self._by_key]
        return sorted(found, key=lambda s: s.id)

    def line_of(self, place: OrderPlace) -> LimitId | None:
        """In which line an order of this kind waits: where there is least room."""
        found = self.of(place)
        return min(found, key=lambda s: (s.room, s.id)).id if found else None


async def read_book(read: ReadSession) -> LimitBook:
    """All limits: one short query, which mostly finds none."""
    # Whether, not how many nor which: the answer is one step into an index, however long the line.
    is_somebody_there = exists().where(WorkOrder.line_id == Limit.id)
    query = select(Limit, is_somebody_there).execution_options(populate_existing=True)
    rows = (await read.execute(query)).all()
    return LimitBook([_state(row, has_line=has_line) for row, has_line in rows])


async def lock(tx: Transaction, ids: Iterable[int]) -> dict[int, LimitState]:
    """Some limits as they are now, locked in the order of their ids."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    query = (
        select(Limit)
        .where(Limit.id.in_(wanted))
        .order_by(Limit.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return {row.id: _state(row) for row in (await tx.scalars(query)).all()}


async def take(tx: Transaction, orders: Sequence[WorkOrder]) -> None:
    """Count the claims of these orders; the limits they hold are locked and have room."""
    for limit_id, count in _held(order.held_limits for order in orders).items():
        await tx.execute(
            update(Limit).where(Limit.id == limit_id).values(running=Limit.running + count)
        )


async def give_back(tx: Transaction, held: Sequence[int]) -> None:
    """A claim has ended: what it held is free again.

    The caller's transaction is the one that ended the claim, by its fence, so this happens once.
    """
    if not await lock(tx, held):
        return
    for limit_id, count in _held([held]).items():
        await tx.execute(
            update(Limit)
            .where(Limit.id == limit_id, Limit.running >= count)
            .values(running=Limit.running - count)
        )


async def lock_held(tx: Transaction, orders: Sequence[WorkOrder]) -> None:
    """Lock what several claims hold, before the first of them is ended: in one order."""
    await lock(tx, _held(order.held_limits for order in orders))


async def line_of_place(read: ReadSession, place: OrderPlace) -> LimitId | None:
    """The line in which an order of this kind is to wait; None where nothing limits it."""
    matches = or_(*(and_(Limit.scope == scope, Limit.key == key) for scope, key in place.pairs()))
    rows = (await read.scalars(select(Limit).where(matches))).all()
    return LimitBook([_state(row) for row in rows]).line_of(place)


def place_of(queue_name: str, worker_type: str | None, task: Task) -> OrderPlace:
    """What limits may apply to a task's order."""
    return OrderPlace(
        queue_name, worker_type, task.project_id, task.repository_id, task.assigned_to_agent_id
    )


def is_under(scope: LimitScope, keys: Sequence[str]) -> ColumnElement[bool]:
    """Whether an order, joined with its task, is of one of these kinds."""
    match scope:
        case LimitScope.FLEET:
            return literal(True)
        case LimitScope.QUEUE:
            return WorkOrder.queue_name.in_(keys)
        case LimitScope.WORKER_TYPE:
            return WorkOrder.worker_type.in_(keys)
        case LimitScope.PROJECT:
            return Task.project_id.in_(_ids(keys))
        case LimitScope.REPOSITORY:
            return Task.repository_id.in_(_ids(keys))
        case LimitScope.AGENT:
            return Task.assigned_to_agent_id.in_(_ids(keys))


async def reconcile(tx: Transaction) -> dict[LimitId, int]:
    """Count anew what runs under each limit, and mend what is wrong; by how much it was.

    Runs that began before their limit was set are counted from now on; that is no error.
    """
    limits = await lock(tx, (await tx.scalars(select(Limit.id))).all())
    running = await _claimed_orders(tx)
    # With the limits locked nobody begins or ends what they count: the rows tell the truth.
    truth = Counter(_held(order.held_limits for order, _ in running))
    drift = {LimitId(i): truth[i] - state.running for i, state in limits.items()}
    drift = {limit_id: by for limit_id, by in drift.items() if by}
    adopted = await _adopt(tx, LimitBook(list(limits.values())), running)
    for limit_id in {*drift, *adopted}:
        await tx.execute(
            update(Limit)
            .where(Limit.id == limit_id)
            .values(running=truth[limit_id] + adopted[limit_id])
        )
    return drift


async def _claimed_orders(tx: Transaction) -> list[tuple[WorkOrder, Task]]:
    query = (
        select(WorkOrder, Task)
        .join(Task, Task.id == WorkOrder.task_id)
        .where(WorkOrder.status == OrderStatus.CLAIMED)
        .execution_options(populate_existing=True)
    )
    return [(order, task) for order, task in (await tx.execute(query)).all()]


async def _adopt(
    tx: Transaction, book: LimitBook, running: Sequence[tuple[WorkOrder, Task]]
) -> Counter[int]:
    """Let running orders hold the limits that came after them; how many for each limit."""
    adopted: Counter[int] = Counter()
    for order, task in running:
        held = list(order.held_limits or ())
        place = place_of(order.queue_name, order.worker_type, task)
        missing = [s.id for s in book.of(place) if s.capacity is not None and s.id not in held]
        if not missing:
            continue
        locked = await tx.scalar(
            select(WorkOrder.id)
            .where(
                WorkOrder.id == order.id,
                WorkOrder.fence == order.fence,
                WorkOrder.status == OrderStatus.CLAIMED,
            )
            .with_for_update(skip_locked=True, key_share=True)
        )
        # Who is ending it holds it, waits for the limits, and must not be waited for.
        if locked is not None:
            order.held_limits = sorted([*held, *missing])
            adopted.update(missing)
    await tx.flush()
    return adopted


def _state(row: Limit, *, has_line: bool = False) -> LimitState:
    return LimitState(
        id=row.id,
        scope=row.scope,
        key=row.key,
        capacity=row.capacity,
        running=row.running,
        is_paused=row.paused_at is not None,
        stops_runs=row.stops_runs,
        has_line=has_line,
    )


def _held(claims: Iterable[Sequence[int] | None]) -> Mapping[int, int]:
    counts = Counter(limit_id for held in claims for limit_id in held or ())
    return dict(sorted(counts.items()))


def _ids(keys: Iterable[str]) -> tuple[uuid.UUID, ...]:
    return tuple(sorted(uuid.UUID(key) for key in keys))

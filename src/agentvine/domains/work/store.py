"""The statements whose concurrency is the point: claim, renew, settle, take back.

Each acts on rows only while the fence it was given is still the row's own, in the statement that
writes. The database's clock decides about leases; a worker's clock decides about nothing.

Locks are taken in one order everywhere: worker, task, order, execution, change. A statement that
picks orders by their state cannot know their tasks beforehand, so it locks both at once and passes
over those that somebody else holds: it never waits.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVarTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    Update,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from agentvine.db.base import Base
from agentvine.db.planning import by_no_index
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.projects.models import Project
from agentvine.domains.tasks.enums import TaskId, TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.work.enums import OrderStatus, WorkOrderId
from agentvine.domains.work.limits import NOTHING_LIMITED, Outside
from agentvine.domains.work.models import WorkOrder
from agentvine.domains.work.states import check_move

Ts = TypeVarTuple("Ts")


@dataclass(frozen=True, slots=True)
class ClaimFilter:
    """What a worker can take."""

    queues: tuple[str, ...]
    worker_types: tuple[str, ...]
    """Empty: all types."""
    runtimes: tuple[str, ...]
    capability_sets: tuple[int, ...]
    """Ids of the requirement sets this worker satisfies."""
    projects: tuple[uuid.UUID, ...] = ()
    """The only projects its key is good for; empty: all."""
    newest_set: int = 0
    """The newest requirement set there was when this was found out."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who claims: a worker's process."""

    worker_id: uuid.UUID
    session_id: uuid.UUID
    claim_token: str


# Written into the statement, not bound: the index of waiting orders covers no others, and a
# statement that is planned once for all values cannot use it for a value it does not know.
_PENDING = literal(OrderStatus.PENDING, WorkOrder.status.type, literal_execute=True)
_CLAIMED = literal(OrderStatus.CLAIMED, WorkOrder.status.type, literal_execute=True)


def ready_orders(
    session: ReadSession,
    wanted: ClaimFilter,
    limit: int,
    *,
    outside: Outside = NOTHING_LIMITED,
) -> Select[WorkOrderId, TaskId]:
    """Ids of the orders without limits that a worker may take now, best first.

    The task must still wait in the queue, and its project must still be there: an order that lags
    behind is for a chore to end, not for a worker to stumble over. So must one that has a limit
    but does not stand in its line yet.
    """
    queues = [name for name in wanted.queues if name not in outside.queues]
    query = (
        _waiting(session, wanted, _is_runnable(wanted, outside))
        .where(WorkOrder.line_id.is_(None), WorkOrder.queue_name.in_(queues))
        .order_by(WorkOrder.rank, WorkOrder.id)
        .limit(limit)
    )
    if outside.worker_types:
        query = query.where(
            or_(
                WorkOrder.worker_type.is_(None),
                WorkOrder.worker_type.not_in(outside.worker_types),
            )
        )
    return query


def orders_in_line(
    session: ReadSession, wanted: ClaimFilter, limit: int, *, line: int, queue: str
) -> Select[WorkOrderId, TaskId]:
    """The same of one queue's orders in the line of a limit."""
    return (
        _waiting(session, wanted, _is_runnable(wanted, NOTHING_LIMITED))
        .where(WorkOrder.line_id == line, WorkOrder.queue_name == queue)
        .order_by(WorkOrder.rank, WorkOrder.id)
        .limit(limit)
    )


def _waiting(
    session: ReadSession, wanted: ClaimFilter, is_runnable: ColumnElement[bool]
) -> Select[WorkOrderId, TaskId]:
    now = session.dialect.now_sql()
    query = select(WorkOrder.id, WorkOrder.task_id).where(
        WorkOrder.status == _PENDING,
        WorkOrder.available_at <= now,
        by_no_index(or_(WorkOrder.expires_at.is_(None), WorkOrder.expires_at > now)),
        or_(WorkOrder.runtime.is_(None), WorkOrder.runtime.in_(wanted.runtimes)),
        by_no_index(
            or_(
                WorkOrder.capability_set_id.is_(None),
                WorkOrder.capability_set_id.in_(wanted.capability_sets),
            )
        ),
        is_runnable,
    )
    if wanted.worker_types:
        query = query.where(
            or_(WorkOrder.worker_type.is_(None), WorkOrder.worker_type.in_(wanted.worker_types))
        )
    return query


def _is_runnable(wanted: ClaimFilter, outside: Outside) -> ColumnElement[bool]:
    # A question about each order, not a join: with a join either database may begin with the
    # tasks, and look at all of them to find one order.
    conditions = [
        Task.status == TaskStatus.QUEUED,
        Task.repository_id.is_not(None),
        Project.deleted_at.is_(None),
        Project.is_active.is_(True),
    ]
    if wanted.projects:
        conditions.append(Task.project_id.in_(wanted.projects))
    if outside.projects:
        conditions.append(Task.project_id.not_in(outside.projects))
    if outside.repositories:
        conditions.append(Task.repository_id.not_in(outside.repositories))
    if outside.agents:
        agent = Task.assigned_to_agent_id
        conditions.append(or_(agent.is_(None), agent.not_in(outside.agents)))
    answer = (
        select(and_(*conditions))
        .join_from(Task, Project, Project.id == Task.project_id)
        .where(Task.id == WorkOrder.task_id)
    )
    return answer.scalar_subquery()


async def claim(
    tx: Transaction,
    holder: Holder,
    ready: Select[WorkOrderId, TaskId],
    *,
    lease_seconds: float,
) -> Sequence[WorkOrder]:
    """Take the orders that a query finds, best first, in one statement.

    The candidates, and then their tasks, are locked in common table expressions (rows that somebody
    else holds are passed over), and updated by their ids, so that never more change than the query
    has as its limit.
    """
    picked = _passing_over(ready).cte("picked")
    free = _passing_over(
        select(Task.id).where(
            Task.id.in_(select(picked.c.task_id)), by_no_index(Task.status == TaskStatus.QUEUED)
        )
    ).cte("free")
    statement = (
        update(WorkOrder)
        .where(
            WorkOrder.id.in_(select(picked.c.id)),
            by_no_index(WorkOrder.task_id.in_(select(free.c.id))),
            by_no_index(WorkOrder.status == _PENDING),
        )
        .values(
            status=OrderStatus.CLAIMED,
            fence=WorkOrder.fence + 1,
            worker_id=holder.worker_id,
            worker_session_id=holder.session_id,
            claim_token=holder.claim_token,
            claimed_at=tx.dialect.now_sql(),
            lease_expires_at=tx.dialect.seconds_from_now(lease_seconds),
            cancel_requested_at=None,
            stop_requested_at=None,
            line_id=None,
            held_limits=None,
        )
    )
    claimed = (await tx.scalars(_returning_orders(statement))).all()
    return sorted(claimed, key=lambda order: (order.rank, order.id))


async def claimed_with(tx: Transaction, holder: Holder) -> Sequence[WorkOrder]:
    """What an earlier claim with the same token got and still holds, best first."""
    query = select(WorkOrder).where(
        WorkOrder.claim_token == holder.claim_token,
        WorkOrder.worker_id == holder.worker_id,
        WorkOrder.status == _CLAIMED,
    )
    return (await tx.scalars(query.order_by(WorkOrder.rank, WorkOrder.id))).all()


async def tokens_held(read: ReadSession, worker_id: uuid.UUID) -> list[str | None]:
    """The claim token of every order that a worker holds."""
    query = select(WorkOrder.claim_token).where(
        WorkOrder.worker_id == worker_id, WorkOrder.status == _CLAIMED
    )
    return list((await read.scalars(query)).all())


@dataclass(frozen=True, slots=True)
class Renewed:
    """A claim that is still the worker's."""

    task_id: uuid.UUID
    execution_id: uuid.UUID | None
    is_to_stop: bool
    """Its run shall stop: it was cancelled, or everything is stopped."""
    is_controlled: bool
    """Whether a person has paused it, or has sent messages to it."""
    is_to_pause: bool


Claim = tuple[uuid.UUID, int]
"""An order's id and the fence of the claim."""


async def renew(
    tx: Transaction, worker_id: uuid.UUID, claims: Sequence[Claim], *, lease_seconds: float
) -> dict[Claim, Renewed]:
    """Extend the leases of all claims that are still the worker's, in one statement.

    An order that another transaction holds at this moment is being settled or taken back. It is
    not waited for: it counts as kept, without an extension, until that transaction has committed.
    """
    if not claims:
        return {}
    is_held = _is_held_by(worker_id, claims)
    picked = _passing_over(select(WorkOrder.id).where(is_held)).cte("picked")
    statement = (
        update(WorkOrder)
        .where(WorkOrder.id.in_(select(picked.c.id)), by_no_index(WorkOrder.status == _CLAIMED))
        .values(lease_expires_at=tx.dialect.seconds_from_now(lease_seconds))
        .returning(*_RENEWED)
        .execution_options(synchronize_session=False)
    )
    renewed = _renewed(await tx.execute(statement))
    passed_over = [claim for claim in claims if claim not in renewed]
    if passed_over:
        rows = await tx.execute(select(*_RENEWED).where(_is_held_by(worker_id, passed_over)))
        renewed |= _renewed(rows)
    return renewed


_RENEWED = (
    WorkOrder.id,
    WorkOrder.fence,
    WorkOrder.task_id,
    WorkOrder.execution_id,
    WorkOrder.cancel_requested_at,
    WorkOrder.stop_requested_at,
    WorkOrder.controlled_fence,
    WorkOrder.pause_requested_at,
)


def _is_held_by(worker_id: uuid.UUID, claims: Sequence[Claim]) -> ColumnElement[bool]:
    return and_(
        # The ids alone let the primary key be used; the pairs decide.
        WorkOrder.id.in_([order_id for order_id, _ in claims]),
        tuple_(WorkOrder.id, WorkOrder.fence).in_(list(claims)),
        by_no_index(WorkOrder.worker_id == worker_id),
        by_no_index(WorkOrder.status == _CLAIMED),
    )


def _renewed(rows: Any) -> dict[Claim, Renewed]:
    return {
        (row.id, row.fence): Renewed(
            row.task_id,
            row.execution_id,
            row.cancel_requested_at is not None or row.stop_requested_at is not None,
            is_controlled=row.controlled_fence == row.fence,
            is_to_pause=row.pause_requested_at is not None,
        )
        for row in rows.all()
    }


async def count_going_on(read: ReadSession, worker_id: uuid.UUID, claims: Sequence[Claim]) -> int:
    """How many of these claims are still the worker's, and are not to be stopped."""
    if not claims:
        return 0
    query = select(func.count()).where(
        _is_held_by(worker_id, claims),
        WorkOrder.cancel_requested_at.is_(None),
        WorkOrder.stop_requested_at.is_(None),
    )
    return await read.scalar(query) or 0


async def settle(
    tx: Transaction, order_id: uuid.UUID, fence: int, values: dict[str, Any]
) -> WorkOrder | None:
    """Change a claimed order while its fence is the one given; None when it is not any more."""
    check_move(OrderStatus.CLAIMED, values.get("status", OrderStatus.CLAIMED))
    return await _change(
        tx,
        and_(
            WorkOrder.id == order_id,
            WorkOrder.fence == fence,
            WorkOrder.status == _CLAIMED,
        ),
        values,
    )


async def take_back(
    tx: Transaction, order_id: uuid.UUID, fence: int, values: dict[str, Any]
) -> WorkOrder | None:
    """Like ``settle``, but shuts out the worker: the fence grows, and its token is forgotten."""
    return await settle(
        tx, order_id, fence, {**values, "fence": WorkOrder.fence + 1, "claim_token": None}
    )


async def withdraw(
    tx: Transaction, order_id: uuid.UUID, values: dict[str, Any]
) -> WorkOrder | None:
    """Change an order that nobody holds; None when a worker has claimed it meanwhile."""
    check_move(OrderStatus.PENDING, values.get("status", OrderStatus.PENDING))
    return await _change(tx, and_(WorkOrder.id == order_id, WorkOrder.status == _PENDING), values)


async def _change(
    tx: Transaction, condition: ColumnElement[bool], values: dict[str, Any]
) -> WorkOrder | None:
    statement = update(WorkOrder).where(condition).values(**values)
    return (await tx.scalars(_returning_orders(statement))).one_or_none()


async def lock_order(tx: Transaction, order_id: uuid.UUID) -> WorkOrder | None:
    """An order as it is now, locked; its task must be locked already."""
    query = (
        select(WorkOrder)
        .where(WorkOrder.id == order_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return await tx.scalar(query)


async def read_clock(read: ReadSession) -> datetime:
    """What the database's clock shows, which alone decides about leases."""
    return (await read.execute(select(read.dialect.now_sql()))).scalar_one()


def is_lapsed(session: ReadSession, *, by: datetime) -> ColumnElement[bool]:
    """Whether a claimed order's lease had run out by a time, and has not been extended since."""
    return and_(
        WorkOrder.status == _CLAIMED,
        WorkOrder.lease_expires_at < by,
        # A clock that was set back since then has made what was extended look older than it is.
        WorkOrder.lease_expires_at < session.dialect.now_sql(),
    )


def is_overdue(session: ReadSession) -> ColumnElement[bool]:
    """Whether a waiting order is too late to be run."""
    return and_(
        WorkOrder.status == _PENDING,
        WorkOrder.expires_at.is_not(None),
        WorkOrder.expires_at <= session.dialect.now_sql(),
    )


def is_stranded_waiting() -> ColumnElement[bool]:
    """Whether an order waits though its project or its repository was deleted."""
    return and_(WorkOrder.status == _PENDING, _has_lost_its_place())


def is_stranded_running() -> ColumnElement[bool]:
    """Whether an order is being run for a project or a repository that was deleted."""
    return and_(
        WorkOrder.status == _CLAIMED,
        WorkOrder.cancel_requested_at.is_(None),
        _has_lost_its_place(),
    )


def _has_lost_its_place() -> ColumnElement[bool]:
    # A question about each order, for the same reason as above.
    is_lost = (
        select(or_(Project.deleted_at.is_not(None), Task.repository_id.is_(None)))
        .join_from(Task, Project, Project.id == Task.project_id)
        .where(Task.id == WorkOrder.task_id)
    )
    return is_lost.scalar_subquery()


async def find_orders(
    read: ReadSession, condition: ColumnElement[bool], limit: int
) -> Sequence[WorkOrderId]:
    """Ids of some orders in a state; takes no lock."""
    # In no order: asked for one, a database may walk all finished orders to find these few.
    return (await read.scalars(select(WorkOrder.id).where(condition).limit(limit))).all()


async def lock_if(
    tx: Transaction, order_id: uuid.UUID, condition: ColumnElement[bool]
) -> WorkOrder | None:
    """An order, locked together with its task, while it is still in a state.

    None when it is not any more, or when somebody is at work on either of them.
    """
    query = (
        select(WorkOrder)
        .join(Task, Task.id == WorkOrder.task_id)
        .where(WorkOrder.id == order_id, condition)
        .execution_options(populate_existing=True)
    )
    return await tx.scalar(_passing_over(query, of=[WorkOrder, Task]))


async def extend_all_leases(tx: Transaction, *, lease_seconds: float) -> int:
    """Give every holder one more lease from now; for when the server was unable to serve.

    An order that is being settled or renewed at this moment needs none.
    """
    picked = _passing_over(select(WorkOrder.id).where(WorkOrder.status == _CLAIMED)).cte("picked")
    statement = (
        update(WorkOrder)
        .where(WorkOrder.id.in_(select(picked.c.id)), WorkOrder.status == _CLAIMED)
        .values(lease_expires_at=tx.dialect.seconds_from_now(lease_seconds))
        .returning(WorkOrder.id)
        .execution_options(synchronize_session=False)
    )
    return len((await tx.execute(statement)).all())


def _passing_over(query: Select[*Ts], of: Sequence[type[Base]] | None = None) -> Select[*Ts]:
    """Lock what is found, without what somebody else holds."""
    # A key share: rows that refer to these may be inserted meanwhile.
    return query.with_for_update(of=of, skip_locked=True, key_share=True)


def _returning_orders(statement: Update) -> Any:
    return statement.returning(WorkOrder).execution_options(
        synchronize_session=False, populate_existing=True
    )

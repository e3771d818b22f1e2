"""Commands on limits: set and remove them, pause and resume, stop everything.

All are audited, with who did it and why. What begins and ends is counted in ``limits``.
"""

import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import func, select, update

from agentvine.db.base import table_of
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.agents.models import Agent
from agentvine.domains.identity import history
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Project, Repository
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import limits
from agentvine.domains.work.enums import LimitId, LimitScope, OrderStatus
from agentvine.domains.work.errors import LimitNotFound, LimitTargetInvalid
from agentvine.domains.work.models import Limit, WorkOrder
from agentvine.domains.work.settling import CHANNEL
from agentvine.domains.workers.enums import WorkerType
from agentvine.domains.workers.service import NEWS
from agentvine.kit.actor import Actor
from agentvine.protocol.limits import LimitOut, LimitTarget

_MAX_QUEUE_NAME = 50


async def set_limit(tx: Transaction, target: LimitTarget, capacity: int) -> Limit:
    """At most so many orders of this kind run at a time, from now on.

    What runs already is counted, and not stopped.

    Raises:
        LimitTargetInvalid: There is nothing of this kind, or it cannot be limited.
    """
    if target.scope is LimitScope.FLEET:
        raise LimitTargetInvalid("The whole fleet has the slots of its workers for a limit.")
    limit = await _lock_or_make(tx, target)
    before, limit.capacity = limit.capacity, capacity
    _record(tx, "limit.set", limit, {"capacity": before}, {"capacity": capacity})
    await tx.flush()
    await limits.reconcile(tx)
    _stir(tx)
    return await _fresh(tx, limit)


async def remove_limit(tx: Transaction, target: LimitTarget) -> None:
    """As many may run as there are slots.

    Raises:
        LimitNotFound: There is no such limit.
    """
    limit = await _lock(tx, target)
    if limit is None or limit.capacity is None:
        raise LimitNotFound(f"Nothing limits {_name(target)}; `agentvine queue status` shows all.")
    before, limit.capacity = limit.capacity, None
    _record(tx, "limit.removed", limit, {"capacity": before}, {"capacity": None})
    _stir(tx)


async def pause(
    tx: Transaction, target: LimitTarget, reason: str, *, stops_runs: bool = False
) -> tuple[Limit, int]:
    """Nothing of this kind begins any more; and what runs stops where that is wanted.

    Returns the limit, and how many runs were told to stop. Runs that are stopped so cost no retry:
    their orders wait again, with what they had done kept.

    Raises:
        LimitTargetInvalid: There is nothing of this kind.
    """
    limit = await _lock_or_make(tx, target)
    limit.paused_at = tx.now
    limit.paused_by = tx.actor.label[:200]
    limit.pause_reason = reason or None
    limit.stops_runs = stops_runs
    action = "work.stopped" if stops_runs else "work.paused"
    _record(tx, action, limit, None, {"reason": reason})
    await tx.flush()
    stopped = await stop_runs(tx) if stops_runs else 0
    _stir(tx)
    return await _fresh(tx, limit), stopped


async def resume(tx: Transaction, target: LimitTarget, reason: str) -> None:
    """Let it begin again.

    Raises:
        LimitNotFound: It is not paused.
    """
    limit = await _lock(tx, target)
    if limit is None or limit.paused_at is None:
        raise LimitNotFound(f"{_name(target)} is not paused; `agentvine queue status` shows all.")
    before = {"paused_by": limit.paused_by, "reason": limit.pause_reason}
    limit.paused_at = limit.paused_by = limit.pause_reason = None
    limit.stops_runs = False
    _record(tx, "work.resumed", limit, before, {"reason": reason})
    _stir(tx)


async def stop_runs(tx: Transaction) -> int:
    """Tell every run to stop that was not told yet; their workers hear it with the next beat."""
    told = await tx.execute(
        update(WorkOrder)
        .where(WorkOrder.status == OrderStatus.CLAIMED, WorkOrder.stop_requested_at.is_(None))
        .values(stop_requested_at=tx.now)
        .returning(WorkOrder.worker_id)
        .execution_options(synchronize_session=False)
    )
    workers = [row.worker_id for row in told.all()]
    for worker_id in set(workers):
        tx.hint(NEWS, str(worker_id))
    return len(workers)


async def list_limits(read: ReadSession, actor: Actor) -> list[LimitOut]:
    """All limits and pauses but those of other people's projects."""
    waiting = (
        select(func.count())
        .select_from(WorkOrder)
        .where(WorkOrder.line_id == Limit.id)
        .scalar_subquery()
    )
    rows = (await read.execute(select(Limit, waiting).order_by(Limit.scope, Limit.key))).all()
    visible = await _visible_keys(read, actor)
    return [
        limit_out(limit, count)
        for limit, count in rows
        if (limit.capacity is not None or limit.paused_at is not None)
        and (limit.scope not in _OF_PROJECTS or limit.key in visible)
    ]


def limit_out(limit: Limit, waiting: int = 0) -> LimitOut:
    """A limit as clients see it."""
    return LimitOut(
        scope=limit.scope,
        key=limit.key,
        capacity=limit.capacity,
        running=limit.running,
        waiting=waiting,
        paused_at=limit.paused_at,
        paused_by=limit.paused_by,
        pause_reason=limit.pause_reason,
        stops_runs=limit.stops_runs,
    )


_OF_PROJECTS = frozenset({LimitScope.PROJECT, LimitScope.REPOSITORY, LimitScope.AGENT})
_TABLES: dict[LimitScope, type[Project | Repository | Agent]] = {
    LimitScope.PROJECT: Project,
    LimitScope.REPOSITORY: Repository,
    LimitScope.AGENT: Agent,
}


async def _visible_keys(read: ReadSession, actor: Actor) -> set[str]:
    seen = projects.visible_projects(actor)
    queries = (
        seen,
        projects.visible_repositories(actor),
        select(Task.assigned_to_agent_id).where(
            Task.project_id.in_(seen), Task.assigned_to_agent_id.is_not(None)
        ),
    )
    return {str(key) for query in queries for key in (await read.scalars(query)).all()}


async def _lock(tx: Transaction, target: LimitTarget) -> Limit | None:
    query = (
        select(Limit)
        .where(Limit.scope == target.scope, Limit.key == target.key)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return await tx.scalar(query)


async def _lock_or_make(tx: Transaction, target: LimitTarget) -> Limit:
    await _check(tx, target)
    values = {"scope": target.scope, "key": target.key}
    await tx.execute(tx.dialect.upsert(table_of(Limit), values, keys=["scope", "key"]))
    limit = await _lock(tx, target)
    assert limit is not None, "made just now"
    return limit


async def _check(read: ReadSession, target: LimitTarget) -> None:
    """See that there is such a thing; of a queue only the name is known.

    Raises:
        LimitTargetInvalid: There is not.
    """
    scope, key = target.scope, target.key
    if scope in _TABLES:
        try:
            known = await read.get(_TABLES[scope], uuid.UUID(key))
        except ValueError:
            known = None
        is_right = known is not None
    elif scope is LimitScope.WORKER_TYPE:
        is_right = key in [kind.value for kind in WorkerType]
    elif scope is LimitScope.QUEUE:
        is_right = 0 < len(key) <= _MAX_QUEUE_NAME
    else:
        is_right = not key
    if not is_right:
        raise LimitTargetInvalid(f"There is no {scope.value.replace('_', ' ')} {key!r}.")


def _record(
    tx: Transaction,
    action: str,
    limit: Limit,
    before: Mapping[str, object] | None,
    after: Mapping[str, object],
) -> None:
    of_project = uuid.UUID(limit.key) if limit.scope is LimitScope.PROJECT else None
    history.record(
        tx,
        action,
        entity=("work_limit", f"{limit.scope.value}:{limit.key}"),
        project_id=of_project,
        before=before,
        after=after,
    )


def _stir(tx: Transaction) -> None:
    tx.hint(limits.LINES)
    tx.hint(CHANNEL)


async def _fresh(tx: Transaction, limit: Limit) -> Limit:
    await tx.flush()
    await tx.refresh(limit)
    return limit


def _name(target: LimitTarget) -> str:
    if target.scope is LimitScope.FLEET:
        return "The fleet"
    return f"The {target.scope.value.replace('_', ' ')} {target.key}"


async def count_in_line(read: ReadSession, limit_id: LimitId) -> int:
    """How many orders wait in a limit's line."""
    query = select(func.count()).select_from(WorkOrder).where(WorkOrder.line_id == limit_id)
    return await read.scalar(query) or 0


async def lock_dormant(tx: Transaction) -> Sequence[Limit]:
    """Limits that say nothing any more, locked; those that others are at are passed over."""
    query = select(Limit).where(Limit.capacity.is_(None), Limit.paused_at.is_(None))
    locked = query.with_for_update(skip_locked=True).execution_options(populate_existing=True)
    return (await tx.scalars(locked)).all()

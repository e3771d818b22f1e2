"""Why a task does not run: everything that is in its way, in words and as facts."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, or_, select

from agentvine.db.session import ReadSession
from agentvine.domains.agents.models import Agent
from agentvine.domains.conversations import questions
from agentvine.domains.projects.models import Project, Repository
from agentvine.domains.tasks import files
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks.context import read_context
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import limits
from agentvine.domains.work.capabilities import satisfies
from agentvine.domains.work.enums import LimitScope, OrderStatus
from agentvine.domains.work.holds import HELD
from agentvine.domains.work.limits import LimitState
from agentvine.domains.work.models import Limit, WorkOrder
from agentvine.domains.workers.enums import CapabilityLevel, WorkerStatus
from agentvine.domains.workers.models import Worker
from agentvine.kit.spans import roughly
from agentvine.protocol.enums import FailureClass, FailureHandling
from agentvine.protocol.queue import WaitReason, WhyOut

_NAMED: dict[LimitScope, type[Project | Repository | Agent]] = {
    LimitScope.PROJECT: Project,
    LimitScope.REPOSITORY: Repository,
    LimitScope.AGENT: Agent,
}
_SHOWN = 5
_SAID = 200
_ALL_LIMITED = "all that could serve it have reached their limits; `agentvine provider list`"


async def explain(read: ReadSession, task: Task, order: WorkOrder | None) -> WhyOut:
    """Why a task stands where it stands."""
    now = await read.scalar(select(read.dialect.now_sql()))
    assert now is not None, "the database knows the time"
    reasons: list[WaitReason] = []
    ahead: int | None = None
    if order is None or order.status is not OrderStatus.PENDING:
        reasons = await _not_waiting(read, task, order)
    else:
        reasons = [
            *_not_to_run(order, now),
            *await _lost_its_place(read, task),
            *await _limited(read, task, order),
            *(await _asks(read, task, order) or _too_early(order, now)),
            *await _nobody_takes_it(read, order, now),
        ]
        ahead = await _count_ahead(read, order)
        if not reasons and ahead:
            reasons = [WaitReason(code="others_first", message=f"{ahead} orders are before it")]
    is_waiting = order is not None and order.status is OrderStatus.PENDING
    return WhyOut(
        task_id=task.id,
        task_ref=f"T-{task.number}",
        task_status=task.status,
        order_id=order.id if order else None,
        order_status=order.status if order else None,
        is_ready=is_waiting and all(reason.code == "others_first" for reason in reasons),
        ahead=ahead,
        reasons=reasons,
    )


async def newest_order(read: ReadSession, task_id: uuid.UUID) -> WorkOrder | None:
    """The last order of a task, if it ever had one."""
    query = select(WorkOrder).where(WorkOrder.task_id == task_id)
    return await read.scalar(query.order_by(WorkOrder.id.desc()).limit(1))


async def _not_waiting(read: ReadSession, task: Task, order: WorkOrder | None) -> list[WaitReason]:
    """Why a task has no order that waits."""
    if order is not None and order.status is OrderStatus.CLAIMED:
        return [await _is_running(read, order), *await _asks(read, task, order)]
    blockers = await tasks.list_blockers(read, task.id)
    if task.status is TaskStatus.BLOCKED and blockers:
        waits = [
            {"task": f"T-{other.number}", "title": other.title, "status": other.status.value}
            for other in blockers
        ]
        told = ", ".join(f"{row['task']} ({row['status']})" for row in waits[:_SHOWN])
        return [_reason("dependencies", f"waits for {told}", blockers=waits)]
    if waits := await files.list_current_waits(read, task):
        others = [files.wait_out(wait).model_dump(mode="json") for wait in waits]
        return [_reason("files", files.describe(waits), tasks=others)]
    if task.status is TaskStatus.PENDING:
        told = task.status_reason or "nobody has started it; `agentvine task start`"
        return [_reason("not_started", told)]
    told = task.status_reason or (order.error_message if order else None) or ""
    facts = {"failure_class": order.last_failure_class} if order else {}
    if task.status is TaskStatus.BLOCKED and read_context(task).budget_room is not None:
        return [_reason("budget_used_up", told, **facts)]
    return [_reason(f"task_{task.status.value}", told or f"it is {task.status.value}", **facts)]


async def _is_running(read: ReadSession, order: WorkOrder) -> WaitReason:
    worker = await read.get(Worker, order.worker_id) if order.worker_id else None
    name = worker.name if worker else "a worker that was deleted"
    return _reason(
        "running",
        f"{name} {_what_it_does(order)}",
        worker=name,
        paused_since=_iso(order.paused_since),
        since=_iso(order.claimed_at),
        lease_until=_iso(order.lease_expires_at),
        fence=order.fence,
    )


def _what_it_does(order: WorkOrder) -> str:
    if order.cancel_requested_at or order.stop_requested_at:
        return "is stopping it"
    if order.paused_since:
        return "lets it stand still; `agentvine order resume`"
    return "is pausing it" if order.pausing_since else "runs it"


def _not_to_run(order: WorkOrder, now: datetime) -> list[WaitReason]:
    if order.expires_at is None or order.expires_at > now:
        return []
    return [_reason("expired", "it is too late for it", expires_at=_iso(order.expires_at))]


async def _asks(read: ReadSession, task: Task, order: WorkOrder) -> list[WaitReason]:
    """What a run waits to be told, or has ended to wait for."""
    is_running = order.status is OrderStatus.CLAIMED
    if not is_running and order.last_failure_class != FailureClass.WAITING_FOR_ANSWER.value:
        return []
    found = [
        question
        for question in await questions.list_open(read, task.conversation_id)
        if question.execution_id == order.execution_id
    ]
    return [
        _reason(
            "waiting_for_answer",
            f"asks: {question.message[:_SAID]} (`agentvine answer {question.id}`)",
            question_id=str(question.id),
            asked_at=_iso(question.created_at),
            run_has_ended=not is_running,
        )
        for question in found[:_SHOWN]
    ]


def _too_early(order: WorkOrder, now: datetime) -> list[WaitReason]:
    if order.available_at <= now and order.line_id != HELD:
        return []
    soon = roughly(max(0.0, (order.available_at - now).total_seconds()))
    told = f"not before {_iso(order.available_at)}, in {soon}"
    if order.line_id == HELD:
        told += f", when the first is good again of the provider's keys: {_ALL_LIMITED}"
        return [_reason("provider_limited", told, available_at=_iso(order.available_at))]
    if _is_of_provider(order):
        told += f", when a provider's limit is lifted: {order.error_message}"
        return [_reason("provider_limited", told, available_at=_iso(order.available_at))]
    if order.retry_count:
        told += f": retry {order.retry_count} of {order.max_retries}, {order.error_message}"
    return [_reason("not_before", told, available_at=_iso(order.available_at))]


def _is_of_provider(order: WorkOrder) -> bool:
    told = order.last_failure_class
    return told is not None and FailureClass(told).handling is FailureHandling.DELAY


async def _lost_its_place(read: ReadSession, task: Task) -> list[WaitReason]:
    if task.repository_id is None:
        return [_reason("repository_deleted", "its repository was deleted")]
    project = await read.get(Project, task.project_id)
    if project is None or project.deleted_at is not None:
        return [_reason("project_deleted", "its project was deleted")]
    if task.status is not TaskStatus.QUEUED:
        return [_reason("task_moved_on", f"its task is {task.status.value}")]
    return []


async def _limited(read: ReadSession, task: Task, order: WorkOrder) -> list[WaitReason]:
    book = await limits.read_book(read)
    place = limits.place_of(order.queue_name, order.worker_type, task)
    fleet = [s for s in book.states if s.scope is LimitScope.FLEET and s.is_paused]
    return [
        await (_paused(read, state) if state.is_paused else _full(read, state))
        for state in [*fleet, *book.of(place)]
        if state.room <= 0
    ]


async def _paused(read: ReadSession, state: LimitState) -> WaitReason:
    row = await read.get_one(Limit, state.id)
    told = f"{await _said(read, state)} is paused by {row.paused_by} since {_iso(row.paused_at)}"
    return _reason(
        "stopped" if row.stops_runs else "paused",
        f"{told}: {row.pause_reason}" if row.pause_reason else told,
        scope=state.scope.value,
        key=state.key,
        paused_by=row.paused_by,
    )


async def _full(read: ReadSession, state: LimitState) -> WaitReason:
    """A limit that is reached, with who takes up its places."""
    query = (
        select(Task.number, Worker.name, WorkOrder.held_limits)
        .join_from(WorkOrder, Task, Task.id == WorkOrder.task_id)
        .outerjoin(Worker, Worker.id == WorkOrder.worker_id)
        .where(WorkOrder.status == OrderStatus.CLAIMED, WorkOrder.held_limits.is_not(None))
        .order_by(WorkOrder.claimed_at)
    )
    holders = [
        {"task": f"T-{number}", "worker": worker}
        for number, worker, held in (await read.execute(query)).all()
        if state.id in (held or ())
    ]
    told = ", ".join(f"{row['task']} on {row['worker']}" for row in holders[:_SHOWN])
    return _reason(
        "limit_reached",
        f"{await _said(read, state)}: {state.running} of {state.capacity} run"
        + (f" ({told})" if told else ""),
        scope=state.scope.value,
        key=state.key,
        running=state.running,
        capacity=state.capacity,
        holders=holders,
    )


@dataclass(frozen=True, slots=True)
class _Fleet:
    """The workers that are there, fewer with each question."""

    workers: Sequence[Worker]

    def only(self, fits: Iterable[bool]) -> "_Fleet":
        pairs = zip(self.workers, fits, strict=True)
        return _Fleet([worker for worker, is_fit in pairs if is_fit])


async def _nobody_takes_it(read: ReadSession, order: WorkOrder, now: datetime) -> list[WaitReason]:
    """The first requirement that no worker meets who meets those before it."""
    query = select(Worker).where(
        Worker.deleted_at.is_(None),
        Worker.status.in_([WorkerStatus.IDLE, WorkerStatus.BUSY]),
    )
    fleet = _Fleet((await read.scalars(query)).all())
    if not fleet.workers:
        return [_reason("no_worker", "no worker is online; start one with `agentvine worker`")]
    required = {name: CapabilityLevel(level) for name, level in order.required_capabilities.items()}
    requirements = (
        ("queue", f"no worker serves the queue {order.queue_name}",
         [order.queue_name in w.queues for w in fleet.workers]),
        ("worker_type", f"no such worker takes tasks of the type {order.worker_type}",
         [not w.accepts or order.worker_type in (None, *w.accepts) for w in fleet.workers]),
        ("runtime", _lack_told(fleet.workers, order.runtime),
         [order.runtime in (None, *w.runtimes) for w in fleet.workers]),
        ("capability", f"no such worker knows {_needs(required)}",
         [satisfies(_knows(w), required) for w in fleet.workers]),
        ("login_limited", _limits_told(fleet.workers, order.runtime),
         [order.runtime in (None, *w.usable_runtimes(now)) for w in fleet.workers]),
        ("draining", "the workers that could take it are draining",
         [not w.is_draining for w in fleet.workers]),
    )  # fmt: skip
    able = [True] * len(fleet.workers)
    for code, message, fits in requirements:
        able = [one and other for one, other in zip(able, fits, strict=True)]
        if not any(able):
            is_lack = code not in {"draining", "login_limited"}
            return [_reason(f"no_{code}" if is_lack else code, message)]
    able_workers = fleet.only(able).workers
    if await _free_slots(read, able_workers) > 0:
        return []
    names = [worker.name for worker in able_workers]
    told = ", ".join(names[:_SHOWN])
    return [_reason("workers_busy", f"all slots of {told} are taken", workers=names)]


def _lack_told(workers: Sequence[Worker], runtime: str | None) -> str:
    problems = [
        f"on {worker.name}: {report.problem}"
        for worker in workers
        for report in worker.runtime_reports
        if report.name == runtime and report.problem
    ]
    told = f"no such worker has the runtime {runtime}"
    return f"{told}; {'; '.join(problems[:_SHOWN])}" if problems else told


def _limits_told(workers: Sequence[Worker], runtime: str | None) -> str:
    waits = [
        f"on {worker.name} until {_iso(limit.until)} ({limit.reason})"
        for worker in workers
        for limit in worker.limited_runtimes
        if limit.runtime == runtime
    ]
    return f"the login of {runtime} has reached its limit {', '.join(waits[:_SHOWN])}"


async def _free_slots(read: ReadSession, workers: Sequence[Worker]) -> int:
    held = await read.scalar(
        select(func.count()).where(
            WorkOrder.status == OrderStatus.CLAIMED,
            WorkOrder.worker_id.in_([worker.id for worker in workers]),
        )
    )
    return sum(worker.max_concurrent_tasks for worker in workers) - (held or 0)


async def _count_ahead(read: ReadSession, order: WorkOrder) -> int:
    """Orders of its queue that would be handed out before it, were there a worker for all."""
    query = select(func.count()).where(
        WorkOrder.status == OrderStatus.PENDING,
        WorkOrder.queue_name == order.queue_name,
        or_(
            WorkOrder.rank < order.rank,
            (WorkOrder.rank == order.rank) & (WorkOrder.id < order.id),
        ),
        WorkOrder.available_at <= read.dialect.now_sql(),
        WorkOrder.line_id.is_(None)
        if order.line_id is None
        else WorkOrder.line_id == order.line_id,
    )
    return await read.scalar(query) or 0


def _knows(worker: Worker) -> dict[str, CapabilityLevel]:
    return {str(item["name"]): CapabilityLevel(item["level"]) for item in worker.capabilities}


def _needs(required: dict[str, CapabilityLevel]) -> str:
    return ", ".join(f"{name}:{level.value}" for name, level in sorted(required.items()))


async def _said(read: ReadSession, state: LimitState) -> str:
    if state.scope is LimitScope.FLEET:
        return "everything"
    named = _NAMED.get(state.scope)
    row = await read.get(named, uuid.UUID(state.key)) if named is not None else None
    return f"the {state.scope.value.replace('_', ' ')} {state.key if row is None else row.name}"


def _reason(code: str, message: str, **facts: object) -> WaitReason:
    return WaitReason(code=code, message=message, facts=facts)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None

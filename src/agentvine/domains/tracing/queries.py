"""Reads of the tracing slice: what the database knows about a line that git has found."""

import uuid
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import defer

from agentvine.db.session import ReadSession
from agentvine.domains.agents.models import Agent, AgentRevision
from agentvine.domains.executions.briefs import instruction_of
from agentvine.domains.executions.models import Execution
from agentvine.domains.identity.models import User
from agentvine.domains.modifications.models import Modification
from agentvine.domains.plans.models import Plan
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage import queries as usage
from agentvine.domains.usage.models import TokenUsage
from agentvine.domains.work.models import WorkOrder
from agentvine.git.blame import LineOrigin
from agentvine.git.trailers import Trailer, read_trailers
from agentvine.kit.actor import Actor
from agentvine.protocol.queue import OrderPayload
from agentvine.protocol.tracing import (
    LineAgent,
    LineCommit,
    LineExecution,
    LineModification,
    LineOriginOut,
    LinePlan,
    LineTask,
    LineUsage,
)

_NOT_OURS = "No run of AgentVine wrote this line, as far as its commit and the database tell."
_FORGOTTEN = (
    "The database does not know this run (any more), or you may not see it: what is shown is what "
    "the commit itself says."
)
_REVERTED = "The line came back when the change was reverted."


@dataclass(frozen=True, slots=True)
class LineFound:
    """What git says about a line."""

    branch: str
    tip: str
    path: str
    line: int
    origin: LineOrigin
    merge: str | None
    merge_message: str


@dataclass(slots=True)
class _Known:
    """The rows behind a line, as far as there are any."""

    modification: Modification | None = None
    execution: Execution | None = None
    task: Task | None = None
    plan: Plan | None = None


async def trace_line(
    read: ReadSession, actor: Actor, repository: Repository, found: LineFound
) -> LineOriginOut:
    """The rows behind a line, of this repository alone and as far as the actor may see them."""
    trailers = _trailers(found)
    known = await _rows(read, actor, repository, found, trailers)
    change, execution, task = known.modification, known.execution, known.task
    origin = found.origin
    agent, system_prompt = await _agent(read, task, execution)
    has_row = task is not None or known.plan is not None
    is_ours = bool(trailers) or has_row
    return LineOriginOut(
        repository_id=repository.id,
        branch=found.branch,
        tip=found.tip,
        path=found.path,
        line=found.line,
        text=origin.text,
        commit=LineCommit(
            id=origin.commit,
            author=origin.author,
            authored_at=origin.authored_at,
            subject=origin.message.strip().split("\n", 1)[0],
            path=origin.path,
            line=origin.line,
        ),
        merge_commit=found.merge,
        is_ours=is_ours,
        trailers={name.value: value for name, value in trailers.items()},
        modification=await _modification(read, change),
        execution=LineExecution.model_validate(execution) if execution else None,
        task=_task_out(task),
        plan=_plan_out(known.plan, task),
        agent=agent,
        system_prompt=system_prompt,
        prompt=await _prompt(read, task, execution),
        usage=await _usage(read, execution),
        notes=_notes(found, known, is_ours=is_ours, has_row=has_row),
    )


async def _modification(read: ReadSession, change: Modification | None) -> LineModification | None:
    """With the name of who asked for it, where it was a person."""
    if change is None:
        return None
    asker = _as_uuid(change.requested_by)
    name = await read.scalar(select(User.username).where(User.id == asker)) if asker else None
    told = LineModification.model_validate(change)
    return told.model_copy(update={"requested_by": name or change.requested_by})


def _trailers(found: LineFound) -> dict[Trailer, str]:
    """The commit's own, and those of the merge where they are about the same task."""
    own, merged = read_trailers(found.origin.message), read_trailers(found.merge_message)
    if Trailer.TASK in own and own[Trailer.TASK] != merged.get(Trailer.TASK):
        return own
    return {**merged, **own}


async def _rows(
    read: ReadSession,
    actor: Actor,
    repository: Repository,
    found: LineFound,
    trailers: dict[Trailer, str],
) -> _Known:
    """A message can say anything: only what belongs to this repository is followed."""
    known = _Known()
    visible = Task.project_id.in_(projects.visible_projects(actor))
    is_here = Task.repository_id == repository.id
    execution_id = _id(trailers, Trailer.EXECUTION)
    known.modification = await read.scalar(
        select(Modification)
        .join(Task, Task.id == Modification.task_id)
        .where(visible, is_here, _is_change(found, trailers, execution_id))
        .order_by(Modification.execution_id == execution_id, Modification.id.desc())
        .options(defer(Modification.diff), defer(Modification.impact_analysis))
        .limit(1)
    )
    if execution_id is None and known.modification is not None:
        execution_id = known.modification.execution_id
    if execution_id is not None:
        known.execution = await read.scalar(
            select(Execution)
            .join(Task, Task.id == Execution.task_id)
            .where(visible, is_here, Execution.id == execution_id)
        )
    task_id = (
        (known.execution.task_id if known.execution else None)
        or (known.modification.task_id if known.modification else None)
        or _id(trailers, Trailer.TASK)
    )
    known.task = await read.scalar(select(Task).where(visible, is_here, Task.id == task_id))
    plan_id = (known.task.plan_id if known.task else None) or _id(trailers, Trailer.PLAN)
    known.plan = await read.scalar(
        select(Plan).where(Plan.id == plan_id, Plan.repository_id == repository.id)
    )
    return known


def _is_change(
    found: LineFound, trailers: dict[Trailer, str], execution_id: uuid.UUID | None
) -> ColumnElement[bool]:
    if execution_id is not None:
        return Modification.execution_id == execution_id
    commits = [commit for commit in (found.origin.commit, found.merge) if commit is not None]
    return or_(
        Modification.id == _id(trailers, Trailer.MODIFICATION),
        Modification.head_commit == found.origin.commit,
        Modification.merge_commit.in_(commits),
        Modification.revert_commit == found.origin.commit,
    )


async def _agent(
    read: ReadSession, task: Task | None, execution: Execution | None
) -> tuple[LineAgent | None, str | None]:
    """The agent and its instructions, in the revision that counted when the attempt began."""
    agent_id = execution.agent_id if execution else None
    agent_id = agent_id or (task.assigned_to_agent_id if task else None)
    agent = await read.scalar(select(Agent).where(Agent.id == agent_id))
    if agent is None:
        return None, None
    revisions = select(AgentRevision).where(AgentRevision.agent_id == agent.id)
    if execution is not None:
        revisions = revisions.where(AgentRevision.created_at <= execution.started_at)
    then = await read.scalar(revisions.order_by(AgentRevision.revision.desc()).limit(1)) or agent
    shown = LineAgent(id=agent.id, name=then.name, type=agent.type.value, revision=then.revision)
    return shown, then.system_prompt


async def _prompt(read: ReadSession, task: Task | None, execution: Execution | None) -> str | None:
    if task is None or execution is None:
        return None
    payload = await read.scalar(
        select(WorkOrder.payload).where(WorkOrder.id == execution.work_order_id)
    )
    return None if payload is None else instruction_of(task, OrderPayload.model_validate(payload))


async def _usage(read: ReadSession, execution: Execution | None) -> LineUsage | None:
    if execution is None:
        return None
    found = (await read.execute(usage.sums(TokenUsage.execution_id == execution.id))).one()
    return LineUsage(
        calls=found.calls,
        tokens_in=found.tokens_in,
        tokens_out=found.tokens_out,
        cost_usd=found.cost_usd or Decimal(0),
    )


def _notes(found: LineFound, known: _Known, *, is_ours: bool, has_row: bool) -> list[str]:
    if not is_ours:
        return [_NOT_OURS]
    notes = [] if has_row else [_FORGOTTEN]
    change = known.modification
    if change is not None and change.revert_commit == found.origin.commit:
        notes.append(_REVERTED)
    return notes


def _task_out(task: Task | None) -> LineTask | None:
    if task is None:
        return None
    return LineTask(id=task.id, ref=f"T-{task.number}", title=task.title, status=task.status)


def _plan_out(plan: Plan | None, task: Task | None) -> LinePlan | None:
    if plan is None:
        return None
    step = task.plan_step if task else None
    return LinePlan(id=plan.id, name=plan.name, version=plan.version, step=step)


def _id(trailers: dict[Trailer, str], name: Trailer) -> uuid.UUID | None:
    return _as_uuid(trailers.get(name, ""))


def _as_uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None

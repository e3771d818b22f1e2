"""Doing what comes next, as far as rows suffice: one move, one transaction, under the run's lock.

Who comes second finds the rows changed, and something else to do, or nothing.
"""

import uuid
from dataclasses import dataclass
from datetime import timedelta

from agentvine.db.session import Transaction
from agentvine.domains.conversations.chat import SYSTEM_SENDER
from agentvine.domains.conversations.enums import ChatMessageType
from agentvine.domains.identity.queries import find_person
from agentvine.domains.modifications import queries as modifications
from agentvine.domains.modifications import service as modification_service
from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.planning import service as planning
from agentvine.domains.plans import queries as plans
from agentvine.domains.plans import service as plan_service
from agentvine.domains.plans.enums import PlanStatus
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.enums import TaskStatus, TaskType
from agentvine.domains.tasks.models import Task
from agentvine.domains.team import approval, queries, words
from agentvine.domains.team.answers import take_answer
from agentvine.domains.team.arrows import Act, Next, find_next
from agentvine.domains.team.enums import TeamRole, TeamRunStatus, TeamStepId
from agentvine.domains.team.errors import PlanElsewhere
from agentvine.domains.team.models import TeamRun, TeamStep
from agentvine.domains.team.roles import Part, part_of
from agentvine.domains.team.service import say
from agentvine.domains.team.states import FINAL, set_status
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.planning import PlanAcceptIn
from agentvine.protocol.plans import PlanEditIn
from agentvine.protocol.tasks import TaskCreateIn, TaskRun

TASK_TYPES = {
    TeamRole.ARCHITECT: TaskType.DOCS,
    TeamRole.CODER: TaskType.BUGFIX,
    TeamRole.TESTER: TaskType.TEST,
    TeamRole.REVIEWER: TaskType.REVIEW,
    TeamRole.DELIVERER: TaskType.FEATURE,
}
_EFFECTS = frozenset({Act.ASK, Act.MAKE_BRANCH, Act.REMOVE_BRANCH})
_ON_TEAMS_BRANCH = frozenset({TeamRole.CODER, TeamRole.TESTER, TeamRole.REVIEWER})


@dataclass(frozen=True, slots=True)
class Effect:
    """What no transaction may wait for: it is done by whoever gets this, and by nobody else."""

    run: TeamRun
    found: Next
    step: TeamStep | None = None


async def make_move(tx: Transaction, run_id: uuid.UUID, hold: timedelta) -> Effect | bool:
    """Make one move of a run; what is left to do outside of it, or whether to look again.

    Args:
        tx: The transaction.
        run_id: The run.
        hold: How long it is left alone by others for what is left to do.
    """
    run = await queries.lock_team_run(tx, run_id)
    if run is None or run.status in FINAL:
        return False
    if run.busy_until is not None and run.busy_until > tx.now:
        return False
    found = find_next(await queries.gather_facts(tx, run))
    if found.act is not Act.REMOVE_BRANCH:  # only then it stands there
        await show(tx, run, found)
    if found.act is None:
        return False
    if found.act in _EFFECTS:
        role = found.role
        step = await queries.find_step(tx, run, role, found.number) if role else None
        run.busy_until = tx.now + hold
        return Effect(run, found, step)
    await _ROWS[found.act](tx, run, found)
    return True


async def show(tx: Transaction, run: TeamRun, found: Next) -> None:
    """Let people know where a run stands now."""
    is_news = set_status(tx, run, found.status, reason=found.reason)
    if found.status in FINAL:
        await approval.close_question(tx, run, f"its team run is {found.status.value}")
    if is_news and (found.reason or found.status in FINAL):
        told = f"{found.status.value.replace('_', ' ')}: {found.reason or 'done'}"
        is_bad = found.status in {TeamRunStatus.WAITING, TeamRunStatus.FAILED}
        kind = ChatMessageType.ERROR if is_bad else ChatMessageType.STATUS
        say(tx, run, SYSTEM_SENDER, told, kind)


async def person_of(tx: Transaction, run: TeamRun) -> UserActor:
    """Whoever began the run, in whose name its tasks are made."""
    through = f"team run {run.id}"
    return await find_person(tx, run.created_by, only_project=run.project_id, through=through)


async def _begin(tx: Transaction, run: TeamRun, found: Next) -> None:
    role = found.role
    assert role is not None, "a step has a role"
    part, problem = part_of(run, role), None
    if found.number > 1:
        before = await queries.find_step(tx, run, role, found.number - 1)
        problem = before.problem if before else None
    task = None
    if part.run is not None:
        wanted = await _task_for(tx, run, role, part.run, part, problem)
        task = await task_service.create_task(tx, await person_of(tx, run), wanted)
    _add_step(tx, run, role, found.number, task)
    await tx.flush()


async def _task_for(
    tx: Transaction, run: TeamRun, role: TeamRole, how: TaskRun, part: Part, problem: str | None
) -> TaskCreateIn:
    if role is TeamRole.DELIVERER:
        text = f"Merge {run.branch_name}, on which the team is agreed, into {run.target_branch}."
        how = how.model_copy(update={"command": words.merge_command(run), "max_retries": 1})
    elif role is TeamRole.CODER:
        last = (await queries.list_verdicts(tx, run))[-1]
        text = words.rework(run, last)
        how = _tested(run, how)
    else:
        text = words.answering(run, role, problem)
        how = how.model_copy(update={"wants_answer": True, "test_command": None})
    steps = await queries.list_steps(tx, run)
    cost = queries.spent(steps, await queries.tasks_of(tx, steps))
    return TaskCreateIn(
        title=words.title_of(run, role),
        description=text,
        repository_id=run.repository_id,
        type=TASK_TYPES[role],
        permission=run.permission_level,
        target_branch=run.branch_name if role in _ON_TEAMS_BRANCH else run.target_branch,
        run=how,
        agent_id=part.agent_id,
        budget_usd=queries.left_of_budget(run, cost),
        metadata={"team_run": str(run.id), "team_role": role.value},
    )


def _tested(run: TeamRun, how: TaskRun) -> TaskRun:
    if run.test_command is None or how.test_command is not None:
        return how
    return how.model_copy(update={"test_command": run.test_command})


def _add_step(
    tx: Transaction, run: TeamRun, role: TeamRole, number: int, task: Task | None
) -> None:
    tx.add(
        TeamStep(
            id=TeamStepId(new_id()),
            team_run_id=run.id,
            role=role,
            round=run.round,
            number=number,
            by_model=task is None,
            task_id=task.id if task else None,
            created_at=tx.now,
        )
    )


async def _accept(tx: Transaction, run: TeamRun, _found: Next) -> None:
    """The plan counts, and its steps are the coder's tasks: once, as ever."""
    actor = await person_of(tx, run)
    assert run.plan_id is not None, "there is a plan, or this does not come next"
    plan, repository = await plans.get_plan_for_change(tx, actor, run.plan_id)
    if plan.status is PlanStatus.DRAFT and plan.target_branch != run.branch_name:
        change = PlanEditIn(target_branch=run.branch_name)
        plan = await plan_service.edit_plan(tx, plan, repository, change)
    part = part_of(run, TeamRole.CODER)
    assert part.run is not None, "a coder has a runtime"
    steps = await queries.list_steps(tx, run)
    left = queries.left_of_budget(run, queries.spent(steps, await queries.tasks_of(tx, steps)))
    content = await plans.get_content(tx, plan)
    count = len(content.steps.steps) if content.steps else 1
    wanted = PlanAcceptIn(
        run=_tested(run, part.run),
        agent_id=part.agent_id,
        # What all may spend together is shared out, so that they cannot pass it.
        budget_usd=None if left is None else (left / count).quantize(left, rounding="ROUND_DOWN"),
    )
    outline = await planning.accept_plan(tx, actor, plan, repository, wanted, may_cancel=False)
    if outline.open_items:
        # Somebody has accepted another version by hand; what they began is not ours to cancel.
        raise PlanElsewhere(
            f"Another version of {plan.name} has tasks that this one does not want. Accept version "
            f"{plan.version} yourself, with `--reconcile`, or cancel the run.",
            plan=plan.name,
        )
    for number, task in enumerate(outline.tasks.values(), start=1):
        _add_step(tx, run, TeamRole.CODER, number, task)
    say(tx, run, SYSTEM_SENDER, f"The plan is accepted: {len(outline.tasks)} tasks.")
    await tx.flush()


async def _take(tx: Transaction, run: TeamRun, found: Next) -> None:
    step = await _step(tx, run, found)
    await take_answer(tx, run, step, await person_of(tx, run))


async def _approve(tx: Transaction, run: TeamRun, found: Next) -> None:
    """A coder's change goes into the team's branch; people are asked about the whole."""
    step = await _step(tx, run, found)
    assert step.task_id is not None, "its task is in review"
    await tasks.lock_task(tx, step.task_id)
    for change in await modifications.lock_open_changes(tx, step.task_id):
        is_ours = change.target_branch == run.branch_name
        if change.status is ModificationStatus.PENDING and is_ours:
            reason = "into the team's branch; the whole is tested, reviewed and decided about"
            modification_service.approve(tx, change, reason=reason)
    await tx.flush()


async def _redo(tx: Transaction, run: TeamRun, found: Next) -> None:
    """A coder whose change conflicts begins anew, where the others' changes are."""
    step = await _step(tx, run, found)
    assert step.task_id is not None, "its task is in review"
    task = await tasks.lock_task(tx, step.task_id)
    # Its owner may have asked for it to be applied once more, since it was looked at.
    stuck = [
        change
        for change in await modifications.lock_open_changes(tx, task.id)
        if change.conflicting_files and change.apply_requested_at is None
    ]
    if task.status is not TaskStatus.REVIEW or not stuck:
        return
    files = sorted({file for change in stuck for file in change.conflicting_files})
    reason = words.conflict(run, files)
    await modification_service.turn_down_open_changes(tx, task.id, reason=reason)
    text = words.anew(task.description, reason)
    await task_service.redo_task(tx, task, description=text, reason=reason)
    say(tx, run, SYSTEM_SENDER, f"T-{task.number} begins anew: {reason}.")
    await tx.flush()


async def _ask_person(tx: Transaction, run: TeamRun, _found: Next) -> None:
    await approval.ask_about_plan(tx, run)


async def _hear(tx: Transaction, run: TeamRun, _found: Next) -> None:
    answer = await approval.find_answer(tx, run)
    assert answer is not None, "this comes next because of an answer"
    run.is_approved = True
    say(tx, run, SYSTEM_SENDER, f"The plan is approved by {answer.author}.")
    await tx.flush()


async def _next_round(tx: Transaction, run: TeamRun, _found: Next) -> None:
    run.round += 1
    say(tx, run, SYSTEM_SENDER, f"Round {run.round} of rework begins.")
    await tx.flush()


async def _step(tx: Transaction, run: TeamRun, found: Next) -> TeamStep:
    assert found.role is not None, "a step has a role"
    step = await queries.find_step(tx, run, found.role, found.number)
    assert step is not None, "it was just seen, under the run's lock"
    return step


_ROWS = {
    Act.BEGIN: _begin,
    Act.TAKE: _take,
    Act.ACCEPT: _accept,
    Act.APPROVE: _approve,
    Act.REDO: _redo,
    Act.ASK_PERSON: _ask_person,
    Act.HEAR: _hear,
    Act.NEXT_ROUND: _next_round,
}

"""Commands on team runs: begin one, let it go on, end it."""

import re
import uuid

from agentvine.db.session import Transaction
from agentvine.domains.conversations import chat
from agentvine.domains.conversations.chat import Place, Sender, sender_of
from agentvine.domains.conversations.enums import (
    ChatMessageType,
    ConversationId,
    ConversationType,
)
from agentvine.domains.conversations.models import Conversation
from agentvine.domains.identity import history
from agentvine.domains.identity.enums import UserId
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.enums import ProjectId, RepositoryId
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.errors import ProjectMissing
from agentvine.domains.tasks.states import FINAL as TASK_FINAL
from agentvine.domains.team import approval, queries
from agentvine.domains.team.arrows import find_next
from agentvine.domains.team.enums import TeamRunId, TeamRunStatus
from agentvine.domains.team.errors import NothingToApprove, TeamRunOver
from agentvine.domains.team.models import TeamRun
from agentvine.domains.team.roles import cast_roles
from agentvine.domains.team.states import FINAL, set_status
from agentvine.domains.team.words import goal_line
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.team import TeamApproveIn, TeamRunCreateIn

CHANNEL = "team runs"
"""Hints with a run's id, when there may be something to do for it."""


async def begin_run(tx: Transaction, actor: UserActor, wanted: TeamRunCreateIn) -> TeamRun:
    """Give a team a goal; its architect begins at once.

    Raises:
        RepositoryNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins there.
        ProjectMissing: The repository belongs to no project.
        AgentNotFound: There is no such agent, or it is not theirs to see.
        AgentUnusable: It is inactive, or another project's.
        TeamIncomplete: Somebody is missing, or nobody knows how they work.
    """
    repository = await projects.get_repository_for_change(tx, actor, wanted.repository_id)
    if repository.project_id is None:
        raise ProjectMissing(f"Give {repository.name} a project: its tasks belong to one.")
    project = await projects.get_active_project_for_change(tx, actor, repository.project_id)
    parts = await cast_roles(tx, actor, project.id, wanted)
    run = TeamRun(
        id=TeamRunId(new_id()),
        project_id=ProjectId(project.id),
        repository_id=RepositoryId(repository.id),
        goal=wanted.goal,
        status=TeamRunStatus.PLANNING,
        permission_level=wanted.permission,
        max_rounds=wanted.max_rounds,
        budget_usd=wanted.budget_usd,
        target_branch=wanted.target_branch or repository.default_branch,
        test_command=wanted.test_command,
        roles={role: part.model_dump(mode="json") for role, part in parts.items()},
        created_by=UserId(actor.user_id),
    )
    run.branch_name = f"agentvine/team-{_slug(run)}"
    conversation = Conversation(
        id=ConversationId(new_id()),
        title=goal_line(run)[:200],
        type=ConversationType.GENERAL,
        project_id=run.project_id,
        created_by_user_id=actor.user_id,
    )
    tx.add(conversation)
    await tx.flush()  # the run refers to it
    run.conversation_id = conversation.id
    tx.add(run)
    await tx.flush()
    history.record(
        tx,
        "team_run.begun",
        entity=("team_run", run.id),
        project_id=run.project_id,
        after={"goal": goal_line(run)[:500], "permission": run.permission_level.value},
    )
    say(tx, run, sender_of(actor), run.goal)
    tx.hint(CHANNEL, str(run.id))
    await tx.flush()
    await tx.refresh(run)
    return run


async def approve_run(tx: Transaction, run: TeamRun, wanted: TeamApproveIn) -> None:
    """Let a run go on that waits for a person.

    Raises:
        TeamRunOver: It is over.
        NothingToApprove: It waits for something else.
    """
    _check_open(run)
    if wanted.budget_usd is not None:
        run.budget_usd = wanted.budget_usd
    stands = find_next(await queries.gather_facts(tx, run))
    if stands.status is TeamRunStatus.AWAITING_APPROVAL:
        run.is_approved, said = True, "The plan is approved."
        await approval.answer_yes(tx, run)
    elif stands.verdict is not None and wanted.as_it_is:
        run.is_overruled, said = True, "It is to be delivered as it is."
    elif stands.verdict is not None:
        run.max_rounds = run.round + wanted.rounds
        said = f"They may go on for {wanted.rounds} more rounds."
    elif wanted.budget_usd is not None:
        said = f"They may spend ${run.budget_usd} in all."
    else:
        raise NothingToApprove(
            f"It is {stands.status.value.replace('_', ' ')}: "
            f"{stands.reason or 'its tasks are under way'}.",
            status=stands.status.value,
        )
    history.record(
        tx,
        "team_run.approved",
        entity=("team_run", run.id),
        project_id=run.project_id,
        after={"said": said},
    )
    say(tx, run, sender_of(tx.actor), said)
    tx.hint(CHANNEL, str(run.id))
    await tx.flush()
    await tx.refresh(run)


async def cancel_run(tx: Transaction, run: TeamRun, reason: str) -> None:
    """End a run with all of its tasks that are not over. Again changes nothing.

    Raises:
        TeamRunOver: It has come to another end.
    """
    if run.status is TeamRunStatus.CANCELLED:
        return
    _check_open(run)
    why = reason or f"the team run was cancelled by {tx.actor.label}"
    steps = await queries.list_steps(tx, run)
    left = [step.task_id for step in steps if step.task_id is not None]
    for task_id in await tasks.sort_by_waiting(tx, left):
        task = await tasks.lock_task(tx, task_id)
        if task.status not in TASK_FINAL:
            await task_service.cancel_task(tx, task, why)
    set_status(tx, run, TeamRunStatus.CANCELLED, reason=why)
    run.busy_until = None
    await approval.close_question(tx, run, why)
    say(tx, run, sender_of(tx.actor), f"Cancelled: {why}")
    await tx.flush()
    await tx.refresh(run)


def say(
    tx: Transaction,
    run: TeamRun,
    sender: Sender,
    text: str,
    kind: ChatMessageType = ChatMessageType.TEXT,
) -> None:
    """Say something in the run's conversation."""
    if run.conversation_id is None:
        return  # somebody deleted it
    place = Place(conversation_id=run.conversation_id, project_id=run.project_id)
    chat.say(tx, place, sender, kind, text, metadata={"team_run": str(run.id)})


def _check_open(run: TeamRun) -> None:
    if run.status in FINAL:
        raise TeamRunOver(
            f"The team run is {run.status.value}; begin another one.", status=run.status.value
        )


def _slug(run: TeamRun) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", goal_line(run).lower()).strip("-")[:40].strip("-")
    return "-".join(part for part in (words, uuid.UUID(str(run.id)).hex[-6:]) if part)

"""Commands on changes that are asked for in words: asked, approved into one task, completed by it.

There is one kind of modification. A request is one without commits yet; the run that completes its
task fills it in.
"""

from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.modifications import queries, service
from agentvine.domains.modifications.enums import ModificationId, ModificationStatus
from agentvine.domains.modifications.models import Modification
from agentvine.domains.modifications.states import set_status
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks import service as tasks
from agentvine.domains.tasks.models import Task
from agentvine.impact.foresight import likeliest
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import ModificationStage
from agentvine.protocol.impact import ForeseenImpact
from agentvine.protocol.modifications import ModificationRequestIn
from agentvine.protocol.tasks import TaskCreateIn

_TITLE_LENGTH = 300


async def request_modification(
    tx: Transaction,
    actor: UserActor,
    repository: Repository,
    wanted: ModificationRequestIn,
    foreseen: ForeseenImpact,
) -> Modification:
    """Keep a request with what is foreseen of it; nothing runs before somebody approves it.

    Raises:
        TaskNotRunnable: Its task would lack what its runtime needs.
    """
    task = _task_of(repository, wanted, foreseen)
    tasks.check_run(task.run)
    context = await projects.get_current_context(tx, repository)
    modification = Modification(
        id=ModificationId(new_id()),
        project_id=wanted.project_context_id or context.id,
        repository_id=repository.id,
        request=wanted.request,
        requested_by=str(actor.user_id),
        requested_at=tx.now,
        status=ModificationStatus.PENDING,
        foreseen=foreseen.model_dump(mode="json"),
        wanted=task.model_dump(mode="json"),
        impact_analysis={},
        affected_files=[file.path for file in foreseen.files],
        modified_files={},
        test_results={},
        target_branch=wanted.target_branch or repository.default_branch,
        diff_stat={},
    )
    tx.add(modification)
    history.record(
        tx,
        "modification.requested",
        entity=("modification", modification.id),
        project_id=repository.project_id,
        after={"request": wanted.request, "risk": foreseen.reach.risk.level.value},
    )
    await tx.flush()
    await tx.refresh(modification)
    return modification


async def approve(
    tx: Transaction, actor: UserActor, modification: Modification, *, reason: str, apply: bool
) -> bool:
    """Approve what there is: words become one task, a change may be applied.

    The caller holds the modification's lock: however often it is approved, there is one task.

    Returns:
        Whether there is something to apply now.

    Raises:
        DecisionImpossible: It has been decided about already, or there is nothing to see of it yet.
        ProjectArchived: Nothing new begins in its project.
        AgentUnusable: Its agent is inactive by now.
    """
    is_request = modification.stage is ModificationStage.REQUEST
    service.approve(tx, modification, reason=reason, apply=apply and not is_request)
    if is_request:
        wanted = TaskCreateIn.model_validate(modification.wanted)
        foreseen = ForeseenImpact.model_validate(modification.foreseen)
        task = await tasks.create_task(tx, actor, wanted, foreseen=likeliest(foreseen))
        modification.task_id = task.id
        await tx.flush()
    return apply and not is_request


async def end_request(tx: Transaction, task: Task, reason: str) -> None:
    """Note that a request's task is over without a change; trying it again may still bring one."""
    request = await queries.lock_request_of(tx, task.id)
    if request is not None and request.status is ModificationStatus.APPROVED:
        set_status(request, ModificationStatus.FAILED)
        request.failure_message = reason
        history.record(
            tx, "modification.failed", entity=("modification", request.id), after={"reason": reason}
        )


def _task_of(
    repository: Repository, wanted: ModificationRequestIn, foreseen: ForeseenImpact
) -> TaskCreateIn:
    title = wanted.title or wanted.request.strip().splitlines()[0]
    return TaskCreateIn(
        title=title[:_TITLE_LENGTH],
        description=_description(wanted.request, foreseen),
        repository_id=repository.id,
        project_id=repository.project_id,
        type=wanted.type,
        permission=wanted.permission,
        priority=wanted.priority,
        target_branch=wanted.target_branch,
        definition_of_done=wanted.definition_of_done,
        run=wanted.run,
        agent_id=wanted.agent_id,
        budget_usd=wanted.budget_usd,
    )


def _description(request: str, foreseen: ForeseenImpact) -> str:
    """The request, and what is foreseen: a place to begin for whoever does it."""
    parts = [request.strip()]
    if foreseen.files:
        files = "\n".join(f"- {file.path}: {'; '.join(file.reasons)}" for file in foreseen.files)
        parts.append(
            f"## Likely files\n\nAs foreseen at {foreseen.commit[:12]}, by names and imports "
            f"alone; look for yourself.\n\n{files}"
        )
    if foreseen.reach.tests:
        tests = "\n".join(f"- {path}" for path in foreseen.reach.tests)
        parts.append(f"## Tests that reach them\n\n{tests}")
    return "\n\n".join(parts)

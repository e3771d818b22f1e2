"""Commands of the modifications slice: record a change, decide about it, note what became of it."""

import uuid
from collections.abc import Sequence

import structlog

from agentvine.db.session import Transaction
from agentvine.domains.executions import queries as executions
from agentvine.domains.executions.importing import rescue_ref_of
from agentvine.domains.executions.models import Execution
from agentvine.domains.identity import history
from agentvine.domains.identity.enums import UserId
from agentvine.domains.modifications import queries
from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.modifications.errors import DecisionImpossible
from agentvine.domains.modifications.events import (
    ChangeApplied,
    ChangeNotApplicable,
    ChangeRecorded,
    ChangeRejected,
)
from agentvine.domains.modifications.models import Modification
from agentvine.domains.modifications.states import set_status
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks.enums import PermissionLevel
from agentvine.domains.tasks.models import Task
from agentvine.impact.analysis import Findings
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import ChangeKind, ModificationStage
from agentvine.protocol.queue import ChangeReport, ExecutionReport, FileImpact

CHANNEL = "modifications"
NO_CHANGE = "Its task has brought no change yet; cancel the task if it is not wanted any more."
UNSEEN = "Its commits are not in the repository yet, so there is nothing to see and to decide."

log = structlog.get_logger(__name__)


async def record_change(
    tx: Transaction,
    task: Task,
    repository: Repository,
    execution: Execution,
    report: ExecutionReport,
    *,
    is_failed: bool,
) -> Modification:
    """Keep the change an execution left behind, with its evidence.

    A change that was asked for in words is there already, and is completed by the first run that
    does not fail. The change of a run that failed, or was cancelled, is kept as ``failed``: to be
    looked at, never to be applied. Changes of earlier attempts that nobody has decided about are
    turned down.
    """
    change = report.change
    assert change is not None, "called for executions that changed something"
    request = await queries.lock_request_of(tx, task.id)
    await turn_down_open_changes(
        tx, task.id, reason="a later attempt has replaced it", besides=request
    )
    findings = await executions.find_findings(tx, execution.id)
    if request is not None and not is_failed:
        modification = request
        _reopen(modification)
    else:
        modification = await _new_change(tx, task, repository, is_failed=is_failed)
    _describe(modification, execution, report, change)
    # Where a change goes was decided with the task, not by whoever made it.
    modification.target_branch = task.branch_name or repository.default_branch
    if findings is not None:
        show_findings(modification, findings)
    if differs(change, findings):
        log.warning("change.differs_from_report", execution=str(execution.id))
    history.record(
        tx,
        "modification.recorded",
        entity=("modification", modification.id),
        project_id=task.project_id,
        after={"task": f"T-{task.number}", "files": len(change.files)},
    )
    await tx.flush()
    if not is_failed:
        tx.emit(ChangeRecorded(modification))
    return modification


def _reopen(modification: Modification) -> None:
    """A request has become a change: what was decided about its words is in its history."""
    set_status(modification, ModificationStatus.PENDING)
    modification.approved_at = None
    modification.approved_by_id = None
    modification.decision_reason = None
    modification.failure_message = None
    modification.conflicting_files = []


async def _new_change(
    tx: Transaction, task: Task, repository: Repository, *, is_failed: bool
) -> Modification:
    asked = await queries.find_request_of(tx, task.id)
    context = await projects.get_current_context(tx, repository)
    modification = Modification(
        id=new_id(),
        project_id=context.id,
        task_id=task.id,
        repository_id=repository.id,
        request=asked.request if asked else task.title,
        requested_by=asked.requested_by if asked else str(task.created_by or tx.actor.label),
        requested_at=tx.now,
        status=ModificationStatus.FAILED if is_failed else ModificationStatus.PENDING,
        foreseen=asked.foreseen if asked else None,
    )
    tx.add(modification)
    return modification


def _describe(
    modification: Modification,
    execution: Execution,
    report: ExecutionReport,
    change: ChangeReport,
) -> None:
    """Fill in what a run has reported; what the server finds itself comes on top."""
    tests = report.tests
    modification.execution_id = execution.id
    modification.impact_analysis = {"schema_version": 1, "unseen": UNSEEN}
    modification.affected_files = []
    modification.modified_files = {}
    modification.diff_stat = {}
    modification.test_results = tests.model_dump(mode="json") if tests else {}
    modification.tests_passed = tests.passed if tests else None
    modification.base_commit = change.base_commit
    modification.head_commit = change.head_commit
    modification.branch_name = change.branch_name
    modification.rescue_ref = rescue_ref_of(execution.id) if change.bundle_sha256 else None


def show_findings(modification: Modification, findings: Findings) -> None:
    """Describe a change by what the server itself found in its commits."""
    modification.impact_analysis = _impact(findings)
    modification.affected_files = [file.path for file in findings.files]
    modification.modified_files = {file.path: _file_facts(file) for file in findings.files}
    modification.base_commit = findings.base_commit or modification.base_commit
    modification.head_commit = findings.head_commit
    modification.diff = findings.diff
    modification.diff_stat = _stat(findings)


def is_unseen(modification: Modification) -> bool:
    """Whether the server has not been able to look at its commits yet."""
    return "unseen" in modification.impact_analysis


def touched_paths(modification: Modification) -> set[str]:
    """The files that a change makes, changes, moves or removes."""
    moved = {
        str(facts["from"]) for facts in modification.modified_files.values() if "from" in facts
    }
    return moved.union(modification.affected_files)


def differs(change: ChangeReport, findings: Findings | None) -> bool:
    """Whether what was reported is not what was found, as far as anything was reported."""
    if findings is None:
        return False
    told = {(file.path, file.added_lines, file.removed_lines) for file in change.files}
    found = {(file.path, file.added_lines, file.removed_lines) for file in findings.files}
    return change.base_commit != findings.base_commit or told != found


def may_apply_by_itself(task: Task, report: ExecutionReport, *, must_be_tested: bool) -> bool:
    """Whether nobody needs to look: the task is autonomous, and its tests, if any, have passed."""
    is_green = report.tests.passed if report.tests is not None else not must_be_tested
    is_whole = report.change is not None and not report.change.is_partial
    return task.permission_level is PermissionLevel.AUTONOMOUS and is_green and is_whole


def approve(
    tx: Transaction, modification: Modification, *, reason: str = "", apply: bool = True
) -> None:
    """Approve a change, and ask for it to be applied.

    Raises:
        DecisionImpossible: It has been decided about already, or there is nothing to see of it yet.
    """
    if is_unseen(modification) and isinstance(tx.actor, UserActor):
        raise DecisionImpossible(UNSEEN)
    set_status(modification, ModificationStatus.APPROVED)
    modification.approved_at = tx.now
    modification.approved_by_id = (
        UserId(tx.actor.user_id) if isinstance(tx.actor, UserActor) else None
    )
    modification.decision_reason = reason or None
    _audit(tx, "modification.approved", modification, reason=reason)
    if apply:
        request_apply(tx, modification)


def request_apply(tx: Transaction, modification: Modification) -> None:
    """Ask for an approved change to be applied; asking again after a failure tries again.

    Raises:
        DecisionImpossible: It is not approved.
    """
    if modification.status is ModificationStatus.APPLIED:
        return
    if modification.status is not ModificationStatus.APPROVED:
        raise DecisionImpossible(
            f"It is {modification.status}; only an approved change can be applied."
        )
    if modification.head_commit is None:
        raise DecisionImpossible(NO_CHANGE)
    modification.apply_requested_at = tx.now
    modification.failure_message = None
    modification.conflicting_files = []
    tx.hint(CHANNEL, str(modification.id))


def reject(tx: Transaction, modification: Modification, *, reason: str) -> None:
    """Turn a change down; its commits stay on their rescue ref.

    Raises:
        DecisionImpossible: It is applied or turned down already, or being applied.
    """
    if modification.apply_requested_at is not None and modification.failure_message is None:
        raise DecisionImpossible("It is being applied right now; it can be reverted then.")
    if modification.stage is ModificationStage.WORK:
        raise DecisionImpossible(NO_CHANGE)
    set_status(modification, ModificationStatus.REJECTED)
    modification.decision_reason = reason or None
    modification.apply_requested_at = None
    _audit(tx, "modification.rejected", modification, reason=reason)
    tx.emit(ChangeRejected(modification, reason))


async def turn_down_open_changes(
    tx: Transaction, task_id: uuid.UUID, *, reason: str, besides: Modification | None = None
) -> None:
    """Turn down a task's changes that are not applied yet, for a reason of the task's own.

    The caller holds the task's lock, and sees to its status.
    """
    for modification in await queries.lock_open_changes(tx, task_id):
        if modification is besides:
            continue
        set_status(modification, ModificationStatus.REJECTED)
        modification.decision_reason = reason
        modification.apply_requested_at = None
        _audit(tx, "modification.rejected", modification, reason=reason)


def note_applied(tx: Transaction, modification: Modification, merge_commit: str) -> None:
    """Record that the change is in its target branch.

    That is so even if somebody turned it down while it was being merged: the branch decides.
    """
    set_status(modification, ModificationStatus.APPLIED)
    modification.merge_commit = merge_commit
    modification.applied_at = tx.now
    modification.apply_requested_at = None
    modification.failure_message = None
    _audit(tx, "modification.applied", modification, merge_commit=merge_commit)
    tx.emit(ChangeApplied(modification))


def note_not_applied(
    tx: Transaction, modification: Modification, reason: str, *, conflicts: Sequence[str] = ()
) -> None:
    """Record why the change could not be applied; it stays approved, to be tried again.

    Args:
        tx: The transaction.
        modification: The change, locked.
        reason: What is in the way, in words.
        conflicts: The files that others have changed meanwhile, where that is the reason.
    """
    modification.apply_requested_at = None
    modification.failure_message = reason
    modification.conflicting_files = list(conflicts)
    _audit(tx, "modification.not_applied", modification, reason=reason)
    tx.emit(ChangeNotApplicable(modification, reason))


def note_delayed(tx: Transaction, modification: Modification, reason: str) -> None:
    """Record why the change could not be applied yet; it will be tried again."""
    if modification.failure_message == reason:
        return
    modification.failure_message = reason
    _audit(tx, "modification.delayed", modification, reason=reason)
    tx.emit(ChangeNotApplicable(modification, f"{reason} It is tried again."))


def note_reverted(
    tx: Transaction, modification: Modification, revert_commit: str, *, reason: str
) -> None:
    """Record that the change was taken out of its target branch again."""
    modification.revert_commit = revert_commit
    modification.reverted_at = tx.now
    modification.decision_reason = reason or modification.decision_reason
    _audit(tx, "modification.reverted", modification, revert_commit=revert_commit, reason=reason)


def check_revertible(modification: Modification) -> None:
    """See that there is something to take back.

    Raises:
        DecisionImpossible: It is not applied.
    """
    if modification.status is not ModificationStatus.APPLIED or modification.merge_commit is None:
        raise DecisionImpossible("Only an applied change can be reverted.")


def _audit(tx: Transaction, action: str, modification: Modification, **facts: str) -> None:
    history.record(tx, action, entity=("modification", modification.id), after={**facts})


def _impact(change: Findings) -> dict[str, object]:
    return {
        "schema_version": 1,
        "files": [file.model_dump(mode="json") for file in change.files],
        "diff_truncated": change.diff_truncated,
        "reach": change.reach.model_dump(mode="json") if change.reach else None,
        "notes": change.notes,
        "breaks_public_names": sorted(
            {
                f"{file.path}: {name}"
                for file in change.files
                for name in (*file.public_names_removed, *file.public_names_changed)
            }
        ),
        "used_by": sorted({user for file in change.files for user in file.imported_by}),
    }


def _file_facts(file: FileImpact) -> dict[str, object]:
    facts: dict[str, object] = {
        "kind": file.kind.value,
        "added": file.added_lines,
        "removed": file.removed_lines,
    }
    if file.kind is ChangeKind.RENAMED:
        facts["from"] = file.old_path
    return facts


def _stat(change: Findings) -> dict[str, int]:
    return {
        "files": len(change.files),
        "added": sum(file.added_lines for file in change.files),
        "removed": sum(file.removed_lines for file in change.files),
    }

"""Commands on plans: make them, write into drafts, revise, activate, end them. All are audited."""

from typing import Any

from sqlalchemy.exc import IntegrityError

from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.plans import queries
from agentvine.domains.plans.enums import ArtifactType, PlanArtifactId, PlanId, PlanStatus
from agentvine.domains.plans.errors import PlanExists, PlanFixed
from agentvine.domains.plans.models import Plan, PlanArtifact
from agentvine.domains.plans.states import set_status
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.enums import RepositoryId
from agentvine.domains.projects.models import Repository
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.plans import ArtifactIn, PlanCreateIn, PlanEditIn


async def create_plan(tx: Transaction, actor: UserActor, wanted: PlanCreateIn) -> Plan:
    """Make the first version of a plan, a draft.

    Raises:
        RepositoryNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins there.
        PlanExists: The repository has a plan of this name; it can be revised.
    """
    repository = await projects.get_repository_for_change(tx, actor, wanted.repository_id)
    if repository.project_id is not None:
        await projects.get_active_project_for_change(tx, actor, repository.project_id)
    plan = Plan(
        id=PlanId(new_id()),
        repository_id=RepositoryId(repository.id),
        name=wanted.name,
        description=wanted.description,
        target_branch=wanted.target_branch or repository.default_branch,
        version=1,
        status=PlanStatus.DRAFT,
    )
    # Version 1 may be gone, and later ones be there.
    is_taken = bool(await queries.lock_versions(tx, repository.id, wanted.name))
    if not is_taken:
        try:
            async with tx.begin_nested():
                tx.add(plan)
                await tx.flush()  # the unique version decides between two at once
        except IntegrityError:
            is_taken = True
    if is_taken:
        raise PlanExists(f"Choose another name than {wanted.name!r}, or revise that plan.")
    after = {"name": plan.name, "version": 1, "target_branch": plan.target_branch}
    _record(tx, "plan.created", plan, repository, after=after)
    for part in wanted.artifacts:
        _write(tx, plan, part)
    return await _fresh(tx, plan)


async def edit_plan(
    tx: Transaction, plan: Plan, repository: Repository, change: PlanEditIn
) -> Plan:
    """Change what is given of a draft.

    Raises:
        PlanFixed: It is no draft any more.
    """
    _check_is_draft(plan)
    fields = change.model_dump(mode="json", exclude_unset=True)
    before = {name: getattr(plan, name) for name in fields}
    for name, value in fields.items():
        setattr(plan, name, value)
    _record(tx, "plan.edited", plan, repository, before=before, after=fields)
    return await _fresh(tx, plan)


async def write_artifact(
    tx: Transaction, plan: Plan, repository: Repository, part: ArtifactIn
) -> PlanArtifact:
    """Write a part of a draft anew; what it was stays in its history.

    Raises:
        PlanFixed: It is no draft any more.
    """
    _check_is_draft(plan)
    artifact = _write(tx, plan, part)
    plan.updated_at = tx.now  # so that its row_version tells of the change
    after = {"artifact": str(artifact.id), "type": artifact.artifact_type.value}
    _record(tx, "plan.artifact_written", plan, repository, after=after)
    await tx.flush()
    await tx.refresh(artifact)
    return artifact


async def revise_plan(tx: Transaction, plan: Plan, repository: Repository) -> Plan:
    """Copy a version, with the artifacts that count, to the next number: a draft."""
    versions = await queries.lock_versions(tx, plan.repository_id, plan.name)
    copy = Plan(
        id=PlanId(new_id()),
        repository_id=plan.repository_id,
        name=plan.name,
        description=plan.description,
        target_branch=plan.target_branch,
        version=versions[-1].version + 1,
        status=PlanStatus.DRAFT,
    )
    tx.add(copy)
    await tx.flush()  # the artifacts refer to it
    for artifact in await queries.list_current_artifacts(tx, plan):
        _add_artifact(tx, copy, artifact.artifact_type, artifact.content, artifact.created_by)
    after = {"version": copy.version, "of": plan.version, "of_id": str(plan.id)}
    _record(tx, "plan.revised", copy, repository, after=after)
    return await _fresh(tx, copy)


async def activate_plan(tx: Transaction, plan: Plan, repository: Repository) -> Plan:
    """Let a version count; the one that counted before is archived. Again changes nothing.

    Raises:
        PlanTransitionInvalid: It is over.
    """
    if plan.status is PlanStatus.ACTIVE:
        return plan
    project_id = repository.project_id
    for other in await queries.lock_versions(tx, plan.repository_id, plan.name):
        if other.status is PlanStatus.ACTIVE:
            reason = f"version {plan.version} takes its place"
            set_status(tx, other, PlanStatus.ARCHIVED, project_id=project_id, reason=reason)
    await tx.flush()  # before: the database has one active version of a name at any time
    set_status(tx, plan, PlanStatus.ACTIVE, project_id=project_id)
    return await _fresh(tx, plan)


async def end_plan(tx: Transaction, plan: Plan, repository: Repository, status: PlanStatus) -> Plan:
    """Complete or archive a version. Again changes nothing.

    Raises:
        PlanTransitionInvalid: It cannot go there from where it stands.
    """
    set_status(tx, plan, status, project_id=repository.project_id)
    return await _fresh(tx, plan)


async def delete_plan(tx: Transaction, plan: Plan, repository: Repository) -> None:
    """Forget a draft, with its artifacts.

    Raises:
        PlanFixed: It was active once; what came of it refers to it.
    """
    _check_is_draft(plan)
    before = {"name": plan.name, "version": plan.version}
    _record(tx, "plan.deleted", plan, repository, before=before)
    await tx.delete(plan)
    await tx.flush()


def _check_is_draft(plan: Plan) -> None:
    if plan.status is not PlanStatus.DRAFT:
        raise PlanFixed(
            f"Version {plan.version} of {plan.name} is {plan.status}; "
            "`agentvine plan revise` copies it to a new draft.",
            current_status=plan.status.value,
        )


def _write(tx: Transaction, plan: Plan, part: ArtifactIn) -> PlanArtifact:
    content = part.content.model_dump(mode="json", exclude_none=True)
    return _add_artifact(tx, plan, part.artifact_type, content, tx.actor.label[:200])


def _add_artifact(
    tx: Transaction, plan: Plan, type_: ArtifactType, content: Any, author: str | None
) -> PlanArtifact:
    artifact = PlanArtifact(
        id=PlanArtifactId(new_id()),
        plan_id=plan.id,
        artifact_type=type_,
        content=content,
        created_by=author,
        created_at=tx.now,
    )
    tx.add(artifact)
    return artifact


async def _fresh(tx: Transaction, plan: Plan) -> Plan:
    await tx.flush()
    await tx.refresh(plan)
    return plan


def _record(
    tx: Transaction,
    action: str,
    plan: Plan,
    repository: Repository,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    history.record(
        tx,
        action,
        entity=("plan", plan.id),
        project_id=repository.project_id,
        before=before,
        after=after,
    )

"""Reads of the plans slice, and the one place that decides who may see a plan."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy import Select, func, select

from agentvine.db.base import table_of
from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.plans.enums import ArtifactType, PlanId, PlanStatus
from agentvine.domains.plans.errors import ArtifactUnreadable, PlanNotFound
from agentvine.domains.plans.models import Plan, PlanArtifact
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Repository
from agentvine.kit.actor import Actor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.plans import CodeChanges, FeaturePlan, ImplementationSteps, PlanSearchIn

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanFilter:
    """Which versions to list; what is left out does not matter."""

    project_id: uuid.UUID | None = None
    repository_id: uuid.UUID | None = None
    name: str | None = None
    status: PlanStatus | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a version holds: of each type of artifact, the newest."""

    feature: FeaturePlan | None
    steps: ImplementationSteps | None
    changes: CodeChanges | None


def visible_plans(actor: Actor) -> Select[PlanId]:
    """Ids of the versions an actor may see: those of the repositories they may see."""
    seen = projects.visible_repositories(actor)
    return select(Plan.id).where(Plan.repository_id.in_(seen))


async def get_plan(read: ReadSession, actor: Actor, plan_id: uuid.UUID) -> Plan:
    """A version the actor may see.

    Raises:
        PlanNotFound: There is none, or it is not theirs to see.
    """
    plan = await read.scalar(
        select(Plan).where(Plan.id == plan_id, Plan.id.in_(visible_plans(actor)))
    )
    if plan is None:
        raise PlanNotFound(f"You can see no plan with the id {plan_id}.")
    return plan


async def get_plan_for_change(
    read: ReadSession, actor: Actor, plan_id: uuid.UUID
) -> tuple[Plan, Repository]:
    """A version of a project the actor may work in, locked with all versions of its name.

    Raises:
        PlanNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins in its project.
    """
    seen = await get_plan(read, actor, plan_id)
    repository = await projects.get_repository_for_change(read, actor, seen.repository_id)
    if repository.project_id is not None:
        await projects.get_active_project_for_change(read, actor, repository.project_id)
    for plan in await lock_versions(read, seen.repository_id, seen.name):
        if plan.id == plan_id:
            return plan, repository
    raise PlanNotFound(f"The plan {plan_id} was deleted just now.")


async def lock_versions(read: ReadSession, repository_id: uuid.UUID, name: str) -> Sequence[Plan]:
    """All versions of a name, oldest first, locked and as they are now.

    One change of a plan at a time: numbers, the active version and its tasks follow from all.
    """
    await read.flush()
    query = _versions(repository_id, name).with_for_update(key_share=True)
    return (await read.scalars(query.execution_options(populate_existing=True))).all()


async def list_versions(read: ReadSession, plan: Plan) -> Sequence[Plan]:
    """All versions of a plan's name, oldest first."""
    return (await read.scalars(_versions(plan.repository_id, plan.name))).all()


def _versions(repository_id: uuid.UUID, name: str) -> Select[Plan]:
    return (
        select(Plan)
        .where(Plan.repository_id == repository_id, Plan.name == name)
        .order_by(Plan.version)
    )


async def list_plans(
    read: ReadSession, actor: Actor, page: PageRequest, wanted: PlanFilter
) -> Page[Plan]:
    """The versions the actor may see, newest first."""
    query = select(Plan).where(Plan.id.in_(visible_plans(actor)))
    if wanted.project_id is not None:
        of_project = select(Repository.id).where(Repository.project_id == wanted.project_id)
        query = query.where(Plan.repository_id.in_(of_project))
    for column, value in (
        (Plan.repository_id, wanted.repository_id),
        (Plan.name, wanted.name),
        (Plan.status, wanted.status),
    ):
        if value is not None:
            query = query.where(column == value)
    return await fetch_page(read, query, Plan.id, page, newest_first=True)


async def list_artifacts(
    read: ReadSession, plan: Plan, page: PageRequest, *, type_: ArtifactType | None = None
) -> Page[PlanArtifact]:
    """All that was ever written into a version, newest first."""
    query = select(PlanArtifact).where(PlanArtifact.plan_id == plan.id)
    if type_ is not None:
        query = query.where(PlanArtifact.artifact_type == type_)
    return await fetch_page(read, query, PlanArtifact.id, page, newest_first=True)


async def list_current_artifacts(read: ReadSession, plan: Plan) -> list[PlanArtifact]:
    """Of each type, what counts."""
    newest = (
        select(
            PlanArtifact.id,
            func.row_number()
            .over(
                partition_by=PlanArtifact.artifact_type,
                # Raw SQL gives random ids; what came later counts.
                order_by=(PlanArtifact.created_at.desc(), PlanArtifact.id.desc()),
            )
            .label("age"),
        )
        .where(PlanArtifact.plan_id == plan.id)
        .subquery()
    )
    query = select(PlanArtifact).join(newest, newest.c.id == PlanArtifact.id)
    rows = (await read.scalars(query.where(newest.c.age == 1))).all()
    order = list(ArtifactType)
    return sorted(rows, key=lambda row: order.index(row.artifact_type))


async def get_content(read: ReadSession, plan: Plan) -> Content:
    """What counts of a version, read.

    Raises:
        ArtifactUnreadable: Raw SQL wrote something else.
    """
    return content_of(await list_current_artifacts(read, plan))


def content_of(artifacts: Sequence[PlanArtifact]) -> Content:
    """What artifacts hold, one of each type at most.

    Raises:
        ArtifactUnreadable: Raw SQL wrote something else.
    """
    by_type = {artifact.artifact_type: artifact for artifact in artifacts}
    return Content(
        feature=_read(by_type.get(ArtifactType.FEATURE_PLAN), FeaturePlan),
        steps=_read(by_type.get(ArtifactType.IMPLEMENTATION_STEPS), ImplementationSteps),
        changes=_read(by_type.get(ArtifactType.CODE_CHANGES), CodeChanges),
    )


def _read(artifact: PlanArtifact | None, shape: type[M]) -> M | None:
    if artifact is None:
        return None
    try:
        return shape.model_validate(artifact.content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ArtifactUnreadable(
            f"Write the {artifact.artifact_type} anew: {place}: {first['msg']}."
        ) from error


async def search_artifacts(
    read: ReadSession, actor: Actor, page: PageRequest, wanted: PlanSearchIn
) -> Page[PlanArtifact]:
    """Artifacts that hold a document, newest first, of versions the actor may see."""
    plans = visible_plans(actor)
    if wanted.repository_id is not None:
        plans = plans.where(Plan.repository_id == wanted.repository_id)
    if wanted.status is not None:
        plans = plans.where(Plan.status == wanted.status)
    query = select(PlanArtifact).where(
        read.dialect.json_contains(table_of(PlanArtifact).c.content, wanted.contains),
        PlanArtifact.plan_id.in_(plans),
    )
    if wanted.artifact_type is not None:
        query = query.where(PlanArtifact.artifact_type == wanted.artifact_type)
    return await fetch_page(read, query, PlanArtifact.id, page, newest_first=True)


async def list_plans_of(
    read: ReadSession, artifacts: Sequence[PlanArtifact]
) -> dict[uuid.UUID, Plan]:
    """The versions that artifacts belong to, by id."""
    ids = {artifact.plan_id for artifact in artifacts}
    rows = await read.scalars(select(Plan).where(Plan.id.in_(ids)))
    return {plan.id: plan for plan in rows}

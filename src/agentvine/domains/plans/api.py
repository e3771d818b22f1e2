"""Routes of the plans slice: versions, their artifacts, and how they differ."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from agentvine.db.session import ReadSession
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.plans import queries, service
from agentvine.domains.plans.comparing import diff_versions
from agentvine.domains.plans.enums import ArtifactType, PlanStatus
from agentvine.domains.plans.errors import (
    ArtifactUnreadable,
    PlanExists,
    PlanFixed,
    PlanNotFound,
    PlansUnrelated,
    PlanTransitionInvalid,
)
from agentvine.domains.plans.models import Plan, PlanArtifact
from agentvine.domains.plans.queries import PlanFilter
from agentvine.domains.plans.rendering import render_plan
from agentvine.domains.projects.errors import (
    ProjectArchived,
    ProjectReadOnly,
    RepositoryNotFound,
)
from agentvine.http.deps import (
    ExpectedVersion,
    Paging,
    Read,
    StaleVersion,
    Tx,
    check_version,
    require,
)
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.plans import (
    ArtifactIn,
    ArtifactOut,
    PlanCreateIn,
    PlanDetailOut,
    PlanDiffOut,
    PlanEditIn,
    PlanHitOut,
    PlanOut,
    PlanSearchIn,
)

router = APIRouter(tags=["plans"])

PlanReader = Annotated[UserActor, Depends(require("plans:read"))]
PlanWriter = Annotated[UserActor, Depends(require("plans:write"))]

_WRITE = (PlanNotFound, ProjectReadOnly, ProjectArchived)


async def plan_filter(  # the query parameters of a list
    *,
    project_id: uuid.UUID | None = None,
    repository_id: uuid.UUID | None = None,
    name: Annotated[str | None, Query(max_length=255)] = None,
    status: PlanStatus | None = None,
) -> PlanFilter:
    """Which versions to list."""
    return PlanFilter(project_id=project_id, repository_id=repository_id, name=name, status=status)


@router.get("/plans")
async def list_plans(
    actor: PlanReader, read: Read, page: Paging, wanted: Annotated[PlanFilter, Depends(plan_filter)]
) -> PageOut[PlanOut]:
    """The versions of plans you may see, newest first."""
    found = await queries.list_plans(read, actor, page, wanted)
    items = [PlanOut.model_validate(plan) for plan in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.post(
    "/plans",
    status_code=201,
    responses=responses(PlanExists, RepositoryNotFound, ProjectReadOnly, ProjectArchived),
)
async def create_plan(
    body: PlanCreateIn, actor: PlanWriter, tx: Tx, once: CreateOnce
) -> PlanDetailOut:
    """Make the first version of a plan, a draft."""

    async def create() -> PlanDetailOut:
        return await _detail_out(tx, await service.create_plan(tx, actor, body))

    return await once.run(tx, body, PlanDetailOut, create)


@router.post("/plans/search")
async def search_plans(
    body: PlanSearchIn, actor: PlanReader, read: Read, page: Paging
) -> PageOut[PlanHitOut]:
    """Artifacts whose content holds a document, newest first.

    `{"steps": [{"type": "test"}]}` finds all with a step of that type.
    """
    found = await queries.search_artifacts(read, actor, page, body)
    plans = await queries.list_plans_of(read, found.items)
    items = [
        PlanHitOut(plan=PlanOut.model_validate(plans[row.plan_id]), artifact=_artifact_out(row))
        for row in found.items
    ]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.get("/plans/{plan_id}", responses=responses(PlanNotFound, ArtifactUnreadable))
async def get_plan(plan_id: uuid.UUID, actor: PlanReader, read: Read) -> PlanDetailOut:
    """One version, with the artifacts that count."""
    return await _detail_out(read, await queries.get_plan(read, actor, plan_id))


@router.patch("/plans/{plan_id}", responses=responses(*_WRITE, PlanFixed, StaleVersion))
async def edit_plan(
    plan_id: uuid.UUID, body: PlanEditIn, actor: PlanWriter, tx: Tx, expected: ExpectedVersion
) -> PlanOut:
    """Change a draft."""
    plan, repository = await queries.get_plan_for_change(tx, actor, plan_id)
    check_version(plan.row_version, expected)
    return PlanOut.model_validate(await service.edit_plan(tx, plan, repository, body))


@router.delete("/plans/{plan_id}", status_code=204, responses=responses(*_WRITE, PlanFixed))
async def delete_plan(plan_id: uuid.UUID, actor: PlanWriter, tx: Tx) -> None:
    """Forget a draft."""
    plan, repository = await queries.get_plan_for_change(tx, actor, plan_id)
    await service.delete_plan(tx, plan, repository)


@router.get("/plans/{plan_id}/versions", responses=responses(PlanNotFound))
async def list_versions(plan_id: uuid.UUID, actor: PlanReader, read: Read) -> PageOut[PlanOut]:
    """All versions of a plan, oldest first."""
    plan = await queries.get_plan(read, actor, plan_id)
    versions = await queries.list_versions(read, plan)
    return PageOut(items=[PlanOut.model_validate(version) for version in versions])


@router.post("/plans/{plan_id}/revise", status_code=201, responses=responses(*_WRITE))
async def revise_plan(plan_id: uuid.UUID, actor: PlanWriter, tx: Tx) -> PlanOut:
    """Copy a version, with its artifacts, to a new draft with the next number."""
    plan, repository = await queries.get_plan_for_change(tx, actor, plan_id)
    return PlanOut.model_validate(await service.revise_plan(tx, plan, repository))


@router.post(
    "/plans/{plan_id}/activate", responses=responses(*_WRITE, PlanTransitionInvalid, StaleVersion)
)
async def activate_plan(
    plan_id: uuid.UUID, actor: PlanWriter, tx: Tx, expected: ExpectedVersion
) -> PlanOut:
    """Let a version count, without making its tasks; it cannot be changed any more."""
    plan, repository = await queries.get_plan_for_change(tx, actor, plan_id)
    check_version(plan.row_version, expected)
    return PlanOut.model_validate(await service.activate_plan(tx, plan, repository))


@router.post("/plans/{plan_id}/complete", responses=responses(*_WRITE, PlanTransitionInvalid))
async def complete_plan(plan_id: uuid.UUID, actor: PlanWriter, tx: Tx) -> PlanOut:
    """Say that what an active version wants is there."""
    plan, repository = await queries.get_plan_for_change(tx, actor, plan_id)
    ended = await service.end_plan(tx, plan, repository, PlanStatus.COMPLETED)
    return PlanOut.model_validate(ended)


@router.post("/plans/{plan_id}/archive", responses=responses(*_WRITE, PlanTransitionInvalid))
async def archive_plan(plan_id: uuid.UUID, actor: PlanWriter, tx: Tx) -> PlanOut:
    """Put a version away; its tasks go on."""
    plan, repository = await queries.get_plan_for_change(tx, actor, plan_id)
    ended = await service.end_plan(tx, plan, repository, PlanStatus.ARCHIVED)
    return PlanOut.model_validate(ended)


@router.get("/plans/{plan_id}/artifacts", responses=responses(PlanNotFound))
async def list_artifacts(
    plan_id: uuid.UUID,
    actor: PlanReader,
    read: Read,
    page: Paging,
    type: Annotated[ArtifactType | None, Query()] = None,  # noqa: A002  # as clients call it
) -> PageOut[ArtifactOut]:
    """All that was written into a version, newest first; of each type the newest counts."""
    plan = await queries.get_plan(read, actor, plan_id)
    found = await queries.list_artifacts(read, plan, page, type_=type)
    items = [_artifact_out(row) for row in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.post(
    "/plans/{plan_id}/artifacts",
    status_code=201,
    responses=responses(*_WRITE, PlanFixed, StaleVersion),
)
async def write_artifact(
    plan_id: uuid.UUID, body: ArtifactIn, actor: PlanWriter, tx: Tx, expected: ExpectedVersion
) -> ArtifactOut:
    """Write a part of a draft anew; what it was stays readable."""
    plan, repository = await queries.get_plan_for_change(tx, actor, plan_id)
    check_version(plan.row_version, expected)
    return _artifact_out(await service.write_artifact(tx, plan, repository, body))


@router.get(
    "/plans/{plan_id}/diff/{other_id}",
    responses=responses(PlanNotFound, PlansUnrelated, ArtifactUnreadable),
)
async def diff_plans(
    plan_id: uuid.UUID, other_id: uuid.UUID, actor: PlanReader, read: Read
) -> PlanDiffOut:
    """What differs from one version of a plan to another."""
    return await diff_versions(read, actor, plan_id, other_id)


async def _detail_out(read: ReadSession, plan: Plan) -> PlanDetailOut:
    artifacts = await queries.list_current_artifacts(read, plan)
    return PlanDetailOut(
        **PlanOut.model_validate(plan).model_dump(),
        artifacts=[_artifact_out(row) for row in artifacts],
        text=render_plan(plan, queries.content_of(artifacts)),
    )


def _artifact_out(artifact: PlanArtifact) -> ArtifactOut:
    return ArtifactOut.model_validate(artifact)

"""Routes of the modifications slice."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from agentvine.domains.agents.errors import AgentUnusable
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.modifications import queries, requests, service, trial_merges
from agentvine.domains.modifications.applying import ChangeApplier
from agentvine.domains.modifications.comparing import impact_of
from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.modifications.errors import (
    ChangeConflicts,
    ChangeNotApplied,
    ContextNotFound,
    DecisionImpossible,
    ModificationNotFound,
)
from agentvine.domains.modifications.foreseeing import ImpactDesk, place_of
from agentvine.domains.modifications.models import Modification
from agentvine.domains.projects.errors import (
    ProjectArchived,
    ProjectReadOnly,
    RepositoryNotFound,
)
from agentvine.domains.tasks.errors import TaskNotRunnable
from agentvine.git.errors import RefNotFound
from agentvine.http.deps import Paging, Read, State, require
from agentvine.http.problems import responses
from agentvine.http.state import HttpState
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.impact import ModificationImpactOut
from agentvine.protocol.modifications import (
    ApproveIn,
    DecisionIn,
    ForeseenConflictOut,
    ModificationDetailOut,
    ModificationOut,
    ModificationRequestIn,
)

router = APIRouter(tags=["modifications"])

ChangeReader = Annotated[UserActor, Depends(require("modifications:read"))]
ChangeWriter = Annotated[UserActor, Depends(require("modifications:write"))]

_DECISION = responses(ModificationNotFound, ProjectReadOnly, DecisionImpossible)
_APPLYING = responses(
    ModificationNotFound, ProjectReadOnly, DecisionImpossible, ChangeConflicts, ChangeNotApplied
)
_APPROVING = responses(
    ModificationNotFound,
    ProjectReadOnly,
    ProjectArchived,
    DecisionImpossible,
    ChangeConflicts,
    ChangeNotApplied,
    AgentUnusable,
)


@router.get("/modifications")
async def list_modifications(
    actor: ChangeReader,
    read: Read,
    page: Paging,
    task_id: uuid.UUID | None = None,
    status: Annotated[list[ModificationStatus] | None, Query()] = None,
) -> PageOut[ModificationOut]:
    """The changes you may see, newest first."""
    found = await queries.list_modifications(
        read, actor, page, task_id=task_id, statuses=status or ()
    )
    return PageOut(items=[_out(row) for row in found.items], next_cursor=found.next_cursor)


@router.post(
    "/modifications",
    status_code=201,
    responses=responses(
        RepositoryNotFound,
        ContextNotFound,
        ProjectReadOnly,
        ProjectArchived,
        TaskNotRunnable,
        RefNotFound,
    ),
)
async def request_modification(
    body: ModificationRequestIn, actor: ChangeWriter, state: State, once: CreateOnce
) -> ModificationDetailOut:
    """Ask for a change in words; what it will probably touch is looked up before anything runs."""
    async with state.database.read() as read:
        known = await once.find_answer(read, actor, body, ModificationDetailOut)
    if known is not None:
        return known
    foreseen = await state.effect(ImpactDesk).foresee(actor, body)
    async with state.database.transaction(actor) as tx:

        async def create() -> ModificationDetailOut:
            repository = await place_of(tx, actor, body)
            made = await requests.request_modification(tx, actor, repository, body, foreseen)
            return ModificationDetailOut.model_validate(made)

        return await once.run(tx, body, ModificationDetailOut, create)


@router.get("/modifications/{modification_id}/impact", responses=responses(ModificationNotFound))
async def get_impact(
    modification_id: uuid.UUID, actor: ChangeReader, read: Read
) -> ModificationImpactOut:
    """What was foreseen of a change, what it came to, and how the two differ."""
    return impact_of(await queries.get_modification(read, actor, modification_id))


@router.get("/modifications/{modification_id}", responses=responses(ModificationNotFound))
async def get_modification(
    modification_id: uuid.UUID, actor: ChangeReader, read: Read
) -> ModificationDetailOut:
    """One change with its diff, impact and test results."""
    found = await queries.get_modification(read, actor, modification_id)
    conflicts = await trial_merges.list_conflicts_of(read, found)
    return ModificationDetailOut.model_validate(found).model_copy(
        update={"conflicts": list(conflicts)}
    )


@router.get("/repositories/{repository_id}/conflicts", responses=responses(RepositoryNotFound))
async def list_conflicts(
    repository_id: uuid.UUID,
    actor: ChangeReader,
    read: Read,
    page: Paging,
    task_id: uuid.UUID | None = None,
) -> PageOut[ForeseenConflictOut]:
    """Conflicts that are foreseen among changes that wait, and with their target branches."""
    found = await trial_merges.list_conflicts(read, actor, repository_id, page, task_id=task_id)
    return PageOut(items=list(found.items), next_cursor=found.next_cursor)


@router.post("/modifications/{modification_id}/approve", responses=_APPROVING)
async def approve(
    modification_id: uuid.UUID, actor: ChangeWriter, state: State, body: ApproveIn | None = None
) -> ModificationOut:
    """Approve a change; unless told otherwise it is applied at once. A request becomes its task."""
    decision = body or ApproveIn()
    async with state.database.read() as read:
        unseen = await queries.get_modification_to_decide(read, actor, modification_id)
    await state.effect(ChangeApplier).look(unseen)
    async with state.database.transaction(actor) as tx:
        found = await queries.get_modification_for_change(tx, actor, modification_id)
        is_to_apply = await requests.approve(
            tx, actor, found, reason=decision.reason, apply=decision.apply
        )
    if is_to_apply:
        await state.effect(ChangeApplier).apply(modification_id)
    return await _current(state, actor, modification_id)


@router.post("/modifications/{modification_id}/apply", responses=_APPLYING)
async def apply(modification_id: uuid.UUID, actor: ChangeWriter, state: State) -> ModificationOut:
    """Merge an approved change into its target branch, after a trial merge."""
    async with state.database.transaction(actor) as tx:
        found = await queries.get_modification_for_change(tx, actor, modification_id)
        service.request_apply(tx, found)
    await state.effect(ChangeApplier).apply(modification_id)
    return await _current(state, actor, modification_id)


@router.post("/modifications/{modification_id}/reject", responses=_DECISION)
async def reject(
    modification_id: uuid.UUID, actor: ChangeWriter, state: State, body: DecisionIn | None = None
) -> ModificationOut:
    """Turn a change down; its commits are kept."""
    async with state.database.transaction(actor) as tx:
        found = await queries.get_modification_for_change(tx, actor, modification_id)
        service.reject(tx, found, reason=body.reason if body else "")
    return await _current(state, actor, modification_id)


@router.post("/modifications/{modification_id}/revert", responses=_APPLYING)
async def revert(
    modification_id: uuid.UUID, actor: ChangeWriter, state: State, body: DecisionIn | None = None
) -> ModificationOut:
    """Take an applied change out of its target branch again, by a new commit."""
    async with state.database.transaction(actor) as tx:
        found = await queries.get_modification_for_change(tx, actor, modification_id)
        service.check_revertible(found)
    await state.effect(ChangeApplier).revert(
        modification_id, actor, reason=body.reason if body else ""
    )
    return await _current(state, actor, modification_id)


async def _current(
    state: HttpState, actor: UserActor, modification_id: uuid.UUID
) -> ModificationOut:
    async with state.database.read() as read:
        return _out(await queries.get_modification(read, actor, modification_id))


def _out(row: Modification) -> ModificationOut:
    return ModificationOut.model_validate(row)

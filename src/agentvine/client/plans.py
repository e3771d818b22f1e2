"""Plans: what shall be built, in versions."""

import uuid
from dataclasses import replace

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, edit, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.enums import ArtifactType, PlanStatus
from agentvine.protocol.planning import (
    ChangesAppliedOut,
    ChangesApplyIn,
    PlanAcceptedOut,
    PlanAcceptIn,
    PlanAcceptNowIn,
    PlanPreviewOut,
)
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


class PlansApi:
    """``plans/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(
        self,
        *,
        project_id: uuid.UUID | None = None,
        repository_id: uuid.UUID | None = None,
        name: str | None = None,
        status: PlanStatus | None = None,
    ) -> Listing[PlanOut]:
        """The versions one may see, newest first."""
        params = {
            "project_id": project_id,
            "repository_id": repository_id,
            "name": name,
            "status": status,
        }
        return Listing(self._transport, "plans", params, PageOut[PlanOut])

    async def create(self, body: PlanCreateIn, *, key: str | None = None) -> PlanDetailOut:
        """The first version of a new plan."""
        return await self._transport.fetch(post("plans", body).with_key(key), PlanDetailOut)

    async def search(
        self, body: PlanSearchIn, *, limit: int | None = None, cursor: str | None = None
    ) -> PageOut[PlanHitOut]:
        """A page of artifacts whose content holds a document."""
        params = {"limit": limit, "cursor": cursor}
        call = Call("POST", "plans/search", body=body, params=params)
        return await self._transport.fetch(call, PageOut[PlanHitOut])

    async def get(self, plan_id: uuid.UUID) -> PlanDetailOut:
        """One version, with the artifacts that count."""
        return await self._transport.fetch(get(f"plans/{plan_id}"), PlanDetailOut)

    async def edit(
        self, plan_id: uuid.UUID, body: PlanEditIn, *, row_version: int | None = None
    ) -> PlanOut:
        """Change a draft; with a row version, only if it is still the newest."""
        return await self._transport.fetch(edit(f"plans/{plan_id}", body, row_version), PlanOut)

    async def delete(self, plan_id: uuid.UUID) -> None:
        """Forget a draft."""
        await self._transport.send(Call("DELETE", f"plans/{plan_id}"))

    def versions(self, plan_id: uuid.UUID) -> Listing[PlanOut]:
        """All versions of its name, oldest first."""
        return Listing(self._transport, f"plans/{plan_id}/versions", {}, PageOut[PlanOut])

    async def revise(self, plan_id: uuid.UUID) -> PlanOut:
        """Copy it to a new draft with the next number."""
        return await self._move(plan_id, "revise")

    async def activate(self, plan_id: uuid.UUID) -> PlanOut:
        """Let it count, without making its tasks."""
        return await self._move(plan_id, "activate")

    async def complete(self, plan_id: uuid.UUID) -> PlanOut:
        """Say that what it wants is there."""
        return await self._move(plan_id, "complete")

    async def archive(self, plan_id: uuid.UUID) -> PlanOut:
        """Put it away."""
        return await self._move(plan_id, "archive")

    async def preview(self, plan_id: uuid.UUID) -> PlanPreviewOut:
        """What accepting it does: steps, overlaps, and what becomes of tasks."""
        return await self._transport.fetch(get(f"plans/{plan_id}/preview"), PlanPreviewOut)

    async def accept(self, plan_id: uuid.UUID, body: PlanAcceptNowIn) -> PlanAcceptedOut:
        """Let it count, and make its tasks; may be repeated."""
        call = post(f"plans/{plan_id}/accept", body, is_repeatable=True)
        return await self._transport.fetch(call, PlanAcceptedOut)

    async def reconcile(self, plan_id: uuid.UUID, body: PlanAcceptIn) -> PlanAcceptedOut:
        """Cancel, keep and add tasks as it wants them; may be repeated."""
        call = post(f"plans/{plan_id}/reconcile", body, is_repeatable=True)
        return await self._transport.fetch(call, PlanAcceptedOut)

    async def apply(self, plan_id: uuid.UUID, body: ChangesApplyIn) -> ChangesAppliedOut:
        """Make its code changes a commit on a new branch; may be repeated."""
        call = post(f"plans/{plan_id}/apply", body, is_repeatable=True)
        return await self._transport.fetch(call, ChangesAppliedOut)

    def artifacts(
        self, plan_id: uuid.UUID, *, type_: ArtifactType | None = None
    ) -> Listing[ArtifactOut]:
        """All that was written into it, newest first."""
        path = f"plans/{plan_id}/artifacts"
        return Listing(self._transport, path, {"type": type_}, PageOut[ArtifactOut])

    async def write(
        self, plan_id: uuid.UUID, part: ArtifactIn, *, row_version: int | None = None
    ) -> ArtifactOut:
        """Write a part of a draft anew; with a row version, only if it is still the newest."""
        call = replace(edit(f"plans/{plan_id}/artifacts", part, row_version), method="POST")
        return await self._transport.fetch(call, ArtifactOut)

    async def diff(self, plan_id: uuid.UUID, other_id: uuid.UUID) -> PlanDiffOut:
        """What differs from one version to another."""
        return await self._transport.fetch(get(f"plans/{plan_id}/diff/{other_id}"), PlanDiffOut)

    async def _move(self, plan_id: uuid.UUID, verb: str) -> PlanOut:
        return await self._transport.fetch(post(f"plans/{plan_id}/{verb}"), PlanOut)

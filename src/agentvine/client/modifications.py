"""Modifications: changes on their way to the target branch."""

import uuid
from collections.abc import Sequence

from agentvine.client.pages import Listing
from agentvine.client.transport import Transport, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.enums import ModificationStatus
from agentvine.protocol.impact import ModificationImpactOut
from agentvine.protocol.modifications import (
    ApproveIn,
    DecisionIn,
    ForeseenConflictOut,
    ModificationDetailOut,
    ModificationOut,
    ModificationRequestIn,
)


class ModificationsApi:
    """``modifications/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(
        self, *, task_id: uuid.UUID | None = None, status: Sequence[ModificationStatus] = ()
    ) -> Listing[ModificationOut]:
        """Changes, newest first."""
        params = {"task_id": task_id, "status": status}
        return Listing(self._transport, "modifications", params, PageOut[ModificationOut])

    async def request(
        self, body: ModificationRequestIn, *, key: str | None = None
    ) -> ModificationDetailOut:
        """Ask for a change in words; what is foreseen of it comes back."""
        call = post("modifications", body).with_key(key)
        return await self._transport.fetch(call, ModificationDetailOut)

    async def impact(self, modification_id: uuid.UUID) -> ModificationImpactOut:
        """What was foreseen of a change, and what it came to."""
        call = get(f"modifications/{modification_id}/impact")
        return await self._transport.fetch(call, ModificationImpactOut)

    async def get(self, modification_id: uuid.UUID) -> ModificationDetailOut:
        """One change with its diff and evidence."""
        return await self._transport.fetch(
            get(f"modifications/{modification_id}"), ModificationDetailOut
        )

    def conflicts(
        self, repository_id: uuid.UUID, *, task_id: uuid.UUID | None = None
    ) -> Listing[ForeseenConflictOut]:
        """Conflicts that are foreseen in a repository, or for one task's changes there."""
        path = f"repositories/{repository_id}/conflicts"
        return Listing(self._transport, path, {"task_id": task_id}, PageOut[ForeseenConflictOut])

    async def approve(
        self, modification_id: uuid.UUID, *, reason: str = "", apply: bool = True
    ) -> ModificationOut:
        """Approve a change, and apply it at once unless told not to."""
        call = post(
            f"modifications/{modification_id}/approve", ApproveIn(reason=reason, apply=apply)
        )
        return await self._transport.fetch(call, ModificationOut)

    async def reject(self, modification_id: uuid.UUID, *, reason: str = "") -> ModificationOut:
        """Refuse a change; it stays on its rescue ref."""
        return await self._decide(modification_id, "reject", reason)

    async def apply(self, modification_id: uuid.UUID, *, reason: str = "") -> ModificationOut:
        """Merge an approved change into its target branch."""
        return await self._decide(modification_id, "apply", reason)

    async def revert(self, modification_id: uuid.UUID, *, reason: str = "") -> ModificationOut:
        """Undo an applied change with a commit on the target branch."""
        return await self._decide(modification_id, "revert", reason)

    async def _decide(
        self, modification_id: uuid.UUID, action: str, reason: str
    ) -> ModificationOut:
        call = post(f"modifications/{modification_id}/{action}", DecisionIn(reason=reason))
        return await self._transport.fetch(call, ModificationOut)

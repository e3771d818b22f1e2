"""Team runs: a goal, and the agents that work on it."""

import uuid
from collections.abc import Sequence

from agentvine.client.pages import Listing
from agentvine.client.transport import Transport, get, post
from agentvine.protocol.base import Input, PageOut
from agentvine.protocol.team import (
    TeamApproveIn,
    TeamCancelIn,
    TeamRunCreateIn,
    TeamRunDetailOut,
    TeamRunOut,
    TeamRunStatus,
)


class TeamApi:
    """``team-runs/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(
        self, *, project_id: uuid.UUID | None = None, statuses: Sequence[TeamRunStatus] = ()
    ) -> Listing[TeamRunOut]:
        """The team runs one may see, newest first."""
        params = {"project_id": project_id, "status": list(statuses)}
        return Listing(self._transport, "team-runs", params, PageOut[TeamRunOut])

    async def begin(self, body: TeamRunCreateIn, *, key: str | None = None) -> TeamRunOut:
        """Give a team a goal."""
        return await self._transport.fetch(post("team-runs", body).with_key(key), TeamRunOut)

    async def get(self, run_id: uuid.UUID) -> TeamRunDetailOut:
        """A team run with its steps, its verdicts, and what it came to."""
        return await self._transport.fetch(get(f"team-runs/{run_id}"), TeamRunDetailOut)

    async def approve(self, run_id: uuid.UUID, body: TeamApproveIn) -> TeamRunOut:
        """Say yes to what a team run waits for."""
        return await self._change(run_id, "approve", body)

    async def cancel(self, run_id: uuid.UUID, body: TeamCancelIn) -> TeamRunOut:
        """End a team run; again changes nothing."""
        return await self._change(run_id, "cancel", body)

    async def _change(self, run_id: uuid.UUID, verb: str, body: Input) -> TeamRunOut:
        return await self._transport.fetch(post(f"team-runs/{run_id}/{verb}", body), TeamRunOut)

"""The chore that applies what is asked to be applied, and what could not be applied at once."""

import uuid

import structlog

from agentvine.domains.modifications import queries
from agentvine.domains.modifications.applying import ChangeApplier
from agentvine.kit.errors import AppError
from agentvine.kit.supervision import JobPool, Postponed

_BATCH = 50

log = structlog.get_logger(__name__)


class ApplyChore:
    """Tries what is due; what fails waits longer each time."""

    def __init__(self, applier: ChangeApplier) -> None:
        """Work for an applier."""
        self._database = applier.database
        self._pool = JobPool(applier.apply, _note, Postponed(self._database.clock))

    async def run(self) -> int:
        """One bounded step. Returns how many changes were applied."""
        async with self._database.read() as read:
            due = await queries.list_due(read, _BATCH, besides=self._pool.unavailable())
        return await self._pool.run(due)

    async def close(self) -> None:
        """Give up what is under way."""
        await self._pool.close()


def _note(modification_id: uuid.UUID, error: Exception, again_in_seconds: float) -> None:
    if isinstance(error, AppError):
        # The reason is on the change itself.
        log.info("modification.not_applied", modification=str(modification_id), code=error.code)
        return
    log.error(
        "modification.not_applied",
        modification=str(modification_id),
        again_in_seconds=again_in_seconds,
        exc_info=error,
    )

"""The chore that brings bundles into their repositories when that could not be done at once."""

import uuid

import structlog

from agentvine.domains.executions import queries
from agentvine.domains.executions.importing import BundleImporter
from agentvine.kit.supervision import JobPool, Postponed

_BATCH = 50

log = structlog.get_logger(__name__)


class ImportChore:
    """Tries what is not imported yet; what fails waits longer each time."""

    def __init__(self, importer: BundleImporter) -> None:
        """Work for an importer."""
        self._database = importer.database
        self._pool = JobPool(importer.import_for, _note, Postponed(self._database.clock))

    async def run(self) -> int:
        """One bounded step. Returns how many bundles came into their repository."""
        async with self._database.read() as read:
            waiting = await queries.list_bundles_to_import(
                read, _BATCH, besides=self._pool.unavailable()
            )
        return await self._pool.run(waiting)

    async def close(self) -> None:
        """Give up what is under way."""
        await self._pool.close()


def _note(execution_id: uuid.UUID, error: Exception, again_in_seconds: float) -> None:
    log.warning(
        "bundle.not_imported",
        execution=str(execution_id),
        error=str(error) or repr(error),
        again_in_seconds=again_in_seconds,
    )

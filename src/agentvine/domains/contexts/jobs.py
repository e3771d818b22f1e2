"""The chore that takes the snapshots which changes have asked for."""

import uuid

import structlog

from agentvine.domains.contexts import queries, service
from agentvine.domains.contexts.models import ContextRequest
from agentvine.domains.contexts.taking import SnapshotTaker, Wanted
from agentvine.domains.projects.models import Repository
from agentvine.kit.actor import SystemActor
from agentvine.kit.errors import AppError
from agentvine.kit.supervision import JobPool, Postponed

_ACTOR = SystemActor("contexts")
_BATCH = 20

log = structlog.get_logger(__name__)


class SnapshotChore:
    """Takes what is asked for; what fails waits longer each time, and what cannot be is dropped."""

    def __init__(self, taker: SnapshotTaker) -> None:
        """Work with a taker."""
        self._taker = taker
        self._database = taker.database
        self._pool = JobPool(self._take, _note, Postponed(self._database.clock))

    async def run(self) -> int:
        """One bounded step. Returns how many snapshots were looked after."""
        async with self._database.read() as read:
            due = await queries.list_requests(read, _BATCH, besides=self._pool.unavailable())
        return await self._pool.run(due)

    async def close(self) -> None:
        """Give up what is under way; the requests stay."""
        await self._pool.close()

    async def _take(self, repository_id: uuid.UUID) -> None:
        async with self._database.read() as read:
            request = await read.get(ContextRequest, repository_id)
            repository = await read.get(Repository, repository_id)
        if request is None or repository is None:
            return
        try:
            await self._taker.take(_ACTOR, repository, Wanted(only_if_new=True))
        except AppError as error:
            if not error.permanent:
                raise
            log.warning("context.not_taken", repository=str(repository_id), code=error.code)
        async with self._database.transaction(_ACTOR) as tx:
            await service.settle_request(tx, request)


def _note(repository_id: uuid.UUID, error: Exception, again_in_seconds: float) -> None:
    log.warning(
        "context.postponed",
        repository=str(repository_id),
        again_in_seconds=again_in_seconds,
        exc_info=None if isinstance(error, AppError) else error,
    )

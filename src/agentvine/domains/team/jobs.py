"""The chore that takes team runs on: level-triggered, so that no hint and no life is needed."""

import uuid

import structlog

from agentvine.domains.team import queries
from agentvine.domains.team.desk import TeamDesk
from agentvine.kit.errors import AppError
from agentvine.kit.supervision import JobPool, Postponed

_BATCH = 50
_FIRST = uuid.UUID(int=0)

log = structlog.get_logger(__name__)


class TeamChore:
    """Looks at every run that is not over; what is in somebody's way is looked at later."""

    def __init__(self, desk: TeamDesk) -> None:
        """Work for a desk."""
        self._database = desk.database
        self._pool = JobPool(desk.advance, _note, Postponed(self._database.clock))
        self._after = _FIRST

    async def run(self) -> int:
        """One bounded step. Returns 0: what moved has been moved as far as it goes."""
        async with self._database.read() as read:
            found = await queries.list_open(
                read, _BATCH, after=self._after, besides=self._pool.unavailable()
            )
        self._after = found[-1] if len(found) == _BATCH else _FIRST
        await self._pool.run(found)
        return 0

    async def close(self) -> None:
        """Give up what is under way; it is taken up again by whoever runs next."""
        await self._pool.close()


def _note(run_id: uuid.UUID, error: Exception, again_in_seconds: float) -> None:
    if isinstance(error, AppError):
        # The reason is on the run itself.
        log.info("team_run.stuck", team_run=str(run_id), code=error.code)
        return
    log.error(
        "team_run.not_moved",
        team_run=str(run_id),
        again_in_seconds=again_in_seconds,
        exc_info=error,
    )

"""The chore that lets mentioned agents answer."""

import uuid

import structlog

from agentvine.domains.mentions.answering import MentionDesk, list_waiting
from agentvine.kit.errors import AppError
from agentvine.kit.supervision import JobPool, Postponed

_BATCH = 20

log = structlog.get_logger(__name__)


class MentionChore:
    """Answers what waits; what fails waits longer each time."""

    def __init__(self, desk: MentionDesk) -> None:
        """Work with a desk."""
        self._database = desk.database
        self._pool = JobPool(desk.answer, _note, Postponed(self._database.clock))

    async def run(self) -> int:
        """One bounded step. Returns how many were looked after."""
        async with self._database.read() as read:
            now = self._database.clock.now()
            due = await list_waiting(read, now, _BATCH, besides=self._pool.unavailable())
        return await self._pool.run(due)

    async def close(self) -> None:
        """Give up what is under way; it is taken up when its lease is over."""
        await self._pool.close()


def _note(mention_id: uuid.UUID, error: Exception, again_in_seconds: float) -> None:
    log.warning(
        "mention.postponed",
        mention=str(mention_id),
        again_in_seconds=again_in_seconds,
        exc_info=None if isinstance(error, AppError) else error,
    )

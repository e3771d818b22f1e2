"""The chores that let tasks go whose files are free, and tidy up what is held by nobody."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Database, ReadSession
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks import files
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.files import Stake
from agentvine.domains.tasks.jobs import settle_blocked
from agentvine.domains.tasks.models import Task
from agentvine.domains.tasks.ranking import rank_of
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("files")
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class FileChores:
    """Level-triggered upkeep of who waits for whose files; each call is one bounded step."""

    database: Database
    settings: QueueSettings

    async def let_go(self) -> int:
        """Queue tasks whose files are free, by rank. Returns how many.

        One whose turn it is is looked at again under its lock, so that it is queued once.
        """
        async with self.database.read() as read:
            waiting = await files.list_waiting(read, _BATCH)
            found = await self._find_moved(read, waiting)
        return sum([await settle_blocked(self.database, _ACTOR, task_id) for task_id in found])

    async def tidy(self) -> int:
        """Let files go that are held by tasks which have ended otherwise. Returns how many."""
        async with self.database.transaction(_ACTOR) as tx:
            found = await files.lock_idle_owners(tx, _BATCH)
            if found:
                await files.drop_stakes(tx, found)
                tx.hint(files.CHANNEL)
        return len(found)

    async def _find_moved(self, read: ReadSession, waiting: Sequence[Task]) -> list[uuid.UUID]:
        """The tasks that wait for nobody any more, or for others than they say; by rank."""
        now, found = self.database.clock.now(), list[uuid.UUID]()
        for repository_id in dict.fromkeys(task.repository_id for task in waiting):
            ids = {task.id for task in waiting if task.repository_id == repository_id}
            repository = await read.get(Repository, repository_id) if repository_id else None
            if repository is None or not repository.overlap_waits:
                found += ids
                continue
            stakes = await files.list_stakes(read, repository.id)
            found += ids.difference(stake.task_id for stake in stakes)
            ranked = sorted(
                (stake for stake in stakes if stake.task_id in ids),
                key=lambda stake: self._rank(stake, now),
            )
            found += await _moved(read, ranked, stakes, now)
        return found

    def _rank(self, stake: Stake, now: datetime) -> tuple[bool, int, uuid.UUID]:
        since = stake.waits_since or now
        if stake.has_starved(now):
            return (False, round(since.timestamp() * 1_000_000), stake.task_id)
        rank = rank_of(since.timestamp(), stake.priority, self.settings)
        return (True, rank, stake.task_id)


async def _moved(
    read: ReadSession, ranked: Sequence[Stake], stakes: Sequence[Stake], now: datetime
) -> list[uuid.UUID]:
    found, others = list[uuid.UUID](), {stake.task_id: stake for stake in stakes}
    for stake in ranked:
        besides = await files.list_ancestors(read, stake)
        waits = files.find_waits(stake, others.values(), now, besides=besides)
        if not waits:
            # The next ones are looked at as if it were queued already.
            others[stake.task_id] = replace(stake, status=TaskStatus.QUEUED)
        if not waits or files.describe(waits) != stake.status_reason:
            found.append(stake.task_id)
    return found

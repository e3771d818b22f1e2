"""The hot path where nothing is special: many claims, or many completions, in one transaction.

The long way through sessions and reactions costs a hundred times what the database needs. Almost
all claims and completions are plain, and for those one statement, or some short ones on SQLite, do
all that the long way does (``plain.py``): the order, the assignment, and the parts that other
slices add for their own tables. What is not plain is left untouched by them, and goes the long way;
so there is one place for limits, pauses, changes, cancellations and retries, and every doubt is
decided there.

What several workers ask while others are under way goes into the next transaction together:
beginning one, and waiting for the disk at its end, cost more than what is done for one order.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from agentvine.config.settings import QueueSettings
from agentvine.db.direct import Row
from agentvine.db.session import Database
from agentvine.domains.work import store
from agentvine.domains.work.asked import Claiming, Completing, Way, values_of
from agentvine.domains.work.claiming import ClaimResult, filter_for
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.grants import Grant
from agentvine.domains.work.plain import Plain
from agentvine.domains.work.plain_rows import PlainRows
from agentvine.domains.work.plain_statements import PlainStatements
from agentvine.domains.workers import queries as workers
from agentvine.kit.actor import WorkerActor
from agentvine.protocol.queue import ClaimIn, CompleteIn, OrderOutcome

_MAX_PROFILES = 10_000
PROFILE_SECONDS = 5.0
"""So long a worker may be taken for one that can still run what its login no longer lets it."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What a worker's process can take, as it was when it was last looked up."""

    session_id: uuid.UUID
    wanted: store.ClaimFilter
    until: float
    """On the monotonic clock: after that it is looked up again."""


class Shortcuts:
    """Tries the statements; whoever gets None, or misses an order, goes the long way."""

    def __init__(self, database: Database, settings: QueueSettings, described: Plain) -> None:
        """Prepare; nobody has asked yet."""
        self._database = database
        self._settings = settings
        self._profiles: dict[uuid.UUID, Profile] = {}
        self.way: Way = (
            PlainRows(database, settings, described)
            if database.direct is None
            else PlainStatements(database, database.direct, settings, described)
        )

    def learn(self, message: ClaimIn, wanted: store.ClaimFilter) -> None:
        """Remember what a worker can take, for a while: it changes with its logins' limits."""
        if len(self._profiles) >= _MAX_PROFILES:
            self._profiles.clear()
        until = self._database.clock.monotonic() + PROFILE_SECONDS
        self._profiles[message.worker_id] = Profile(message.session_id, wanted, until)

    async def _wanted_by(self, actor: WorkerActor, message: ClaimIn) -> store.ClaimFilter:
        profile = self._profiles.get(message.worker_id)
        clock = self._database.clock
        is_fresh = profile is not None and clock.monotonic() < profile.until
        if profile is not None and is_fresh and profile.session_id == message.session_id:
            return profile.wanted
        async with self._database.read() as read:
            worker = await workers.get_calling_worker(
                read, actor, message.worker_id, message.session_id
            )
            wanted = await filter_for(read, worker, actor, clock.now())
        self.learn(message, wanted)
        return wanted

    async def claim(self, actor: WorkerActor, message: ClaimIn) -> ClaimResult | None:
        """Claim at once; None when that is not for it to decide.

        Raises:
            WorkerNotFound: It is not registered, or not by this token.
            WorkerSuperseded: A later process of the same worker has registered.
        """
        wanted = await self._wanted_by(actor, message)
        if len(wanted.queues) != 1:
            return None
        rows = await self.way.claim(Claiming(actor, message, wanted, _request_id()))
        room = rows[0]["room"] if rows else None
        if room is None:
            return None
        if room <= 0:
            return ClaimResult([])
        granted = [self._granted(row) for row in rows if row["id"] is not None]
        return ClaimResult(granted, wanted, room)

    async def complete(
        self, actor: WorkerActor, messages: Sequence[CompleteIn]
    ) -> dict[uuid.UUID, OrderOutcome]:
        """Complete what is plain, at once; by order, and only what was done.

        Each order may be in it once.
        """
        plain = [plain for plain in map(values_of, messages) if plain is not None]
        if not plain:
            return {}
        done = await self.way.complete(Completing(actor, plain, _request_id()))
        return {
            row["id"]: OrderOutcome(order_id=row["id"], status=OrderStatus.COMPLETED)
            for row in done
        }

    def _granted(self, row: Row) -> Grant:
        return Grant(
            order_id=row["id"],
            execution_id=row["execution_id"],
            fence=row["fence"],
            attempt=row["retry_count"] + 1,
            lease_seconds=self._settings.lease_seconds,
            payload=row["payload"],
        )


def _request_id() -> str | None:
    return structlog.contextvars.get_contextvars().get("request_id")

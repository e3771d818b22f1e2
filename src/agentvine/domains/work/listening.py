"""Telling a worker at once that its next beat would bring news.

The answer is only a reason to beat, so nothing hangs on it: a hint that is lost costs the time
until the next beat. Hints come from any server of the same database.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from agentvine.db.hints import heard_of
from agentvine.db.session import Database
from agentvine.domains.work import controls, store
from agentvine.domains.workers import queries as workers
from agentvine.domains.workers.service import NEWS
from agentvine.kit.actor import WorkerActor
from agentvine.protocol.queue import Held, ListenIn


@dataclass(frozen=True, slots=True)
class Listener:
    """The workers that wait for news at one server process."""

    database: Database

    async def listen(self, actor: WorkerActor, message: ListenIn, over: asyncio.Event) -> bool:
        """Whether there is news; waits for it as long as the message says.

        Args:
            actor: Whose token it is.
            message: What is asked.
            over: Set when nobody waits for the answer any more, or the server stops.

        Raises:
            WorkerNotFound: It is not registered, or not by this token.
            WorkerSuperseded: A later process of the same worker has registered.
        """
        async with self.database.hints.subscribe(NEWS) as hints:
            # Whatever was told before is in the rows; what comes from now on is heard.
            if await self._has_news(actor, message):
                return True
            return await heard_of(hints, str(message.worker_id), over, message.wait_seconds)

    async def _has_news(self, actor: WorkerActor, message: ListenIn) -> bool:
        async with self.database.read() as read:
            worker = await workers.get_calling_worker(
                read, actor, message.worker_id, message.session_id
            )
            claims = _claims(message.held)
            if await store.count_going_on(read, worker.id, claims) < len(set(claims)):
                return True
            return await controls.has_news(read, claims, message.controls)


def _claims(held: Sequence[Held]) -> list[store.Claim]:
    return [(claim.order_id, claim.fence) for claim in held]

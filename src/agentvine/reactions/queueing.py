"""When a task is ready, edited, held back or cancelled, or a worker is gone: the queue follows."""

import random
from dataclasses import dataclass

from agentvine.config.settings import QueueSettings
from agentvine.db.session import Transaction
from agentvine.domains.gateway import holding
from agentvine.domains.identity.events import TokenRevoked
from agentvine.domains.projects import queries as projects
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.events import (
    TaskCancelRequested,
    TaskEdited,
    TaskHeldBack,
    TaskReady,
)
from agentvine.domains.tasks.states import RUNNING
from agentvine.domains.work import claiming, limits
from agentvine.domains.work import service as work
from agentvine.domains.work.events import PlacesFreed
from agentvine.domains.work.settling import CHANNEL
from agentvine.domains.workers.events import WorkerRetired
from agentvine.kit.actor import SYSTEM

# Spreads retries; nothing secret hangs on it.
_draw = random.Random()  # noqa: S311 - spreads load, hides nothing


@dataclass(frozen=True, slots=True)
class Queueing:
    """Keeps the queue in step with the tasks."""

    settings: QueueSettings

    async def on_task_ready(self, tx: Transaction, event: TaskReady) -> None:
        """A task with nothing in its way gets its order in the same transaction."""
        if event.task.repository_id is None:
            # It was deleted while the task waited. Whoever made the task ready has done no wrong.
            await task_service.finish_task(
                tx, event.task, TaskStatus.FAILED, reason="its repository was deleted"
            )
            return
        repository = await projects.get_repository(tx, SYSTEM, event.task.repository_id)
        order = await work.enqueue_task(tx, event.task, repository, self.settings)
        await holding.hold_if_limited(tx, order, event.task)

    async def on_task_edited(self, tx: Transaction, event: TaskEdited) -> None:
        """A waiting order is told of the new priority and of how to run."""
        if event.task.repository_id is not None and event.task.status not in RUNNING:
            repository = await projects.get_repository(tx, SYSTEM, event.task.repository_id)
            await work.refresh_waiting_order(tx, event.task, repository, self.settings)
            for order in await work.open_orders(tx, event.task.id):
                await holding.hold_if_limited(tx, order, event.task)

    async def on_task_held_back(self, tx: Transaction, event: TaskHeldBack) -> None:
        """A queued task got something to wait for: out of the queue with it."""
        await work.withdraw_orders(tx, event.task, "has to wait for another task")

    async def on_task_cancel_requested(self, tx: Transaction, event: TaskCancelRequested) -> None:
        """A waiting order ends at once; the worker of a running one is told."""
        await work.request_cancel(tx, event.task, event.reason)

    async def on_places_freed(self, tx: Transaction, event: PlacesFreed) -> None:
        """The next one in line may begin. Last of all: others wait for these rows."""
        await limits.give_back(tx, event.limits)
        tx.hint(CHANNEL, event.queue_name)

    async def on_token_revoked(self, tx: Transaction, event: TokenRevoked) -> None:
        """What workers hold who came with it is freed at once: its fence grows."""
        await claiming.take_back_from_revoked(tx, event.token_id, self.settings, _draw)

    async def on_worker_retired(self, tx: Transaction, event: WorkerRetired) -> None:
        """What a deleted worker held goes back to the queue."""
        await claiming.take_back_from_retired(tx, event.worker, self.settings, _draw)

"""The chore that frees what nothing holds back any more.

Whoever ends a task settles those that wait for it in the same transaction; this is for what was
missed all the same, as when rows were changed with SQL.
"""

import uuid
from dataclasses import dataclass

import structlog

from agentvine.db.session import Database
from agentvine.domains.tasks import queries, service
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("tasks")
_BATCH = 50

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TaskChores:
    """Level-triggered upkeep of the tasks; each call is one bounded step."""

    database: Database

    async def unblock(self) -> int:
        """Settle blocked tasks whose blockers are all completed. Returns how many."""
        async with self.database.read() as read:
            found = await queries.list_unblocked(read, _BATCH)
        return sum([await settle_blocked(self.database, _ACTOR, task_id) for task_id in found])


async def settle_blocked(database: Database, actor: SystemActor, task_id: uuid.UUID) -> bool:
    """Settle one task, if it is blocked still and nobody holds it. Returns whether it moved."""
    try:
        async with database.transaction(actor) as tx:
            task = await queries.try_lock_task(tx, task_id)
            if task is None or task.status is not TaskStatus.BLOCKED:
                return False
            await service.settle(tx, task)
            # One that stays where it is is no work done: the chore would turn without a pause.
            return task.status is not TaskStatus.BLOCKED
    except Exception:  # the boundary of a job: the other tasks are settled still
        log.exception("task.not_settled", task=str(task_id))
        return False

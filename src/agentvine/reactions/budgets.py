"""When a budget stops a run: its task waits until more is left, and no retry is counted."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from agentvine.db.session import Transaction
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks.states import FINAL
from agentvine.domains.usage import waiting
from agentvine.domains.work.events import AttemptEnded
from agentvine.protocol.enums import FailureClass


@dataclass(frozen=True, slots=True)
class Budgets:
    """Knows in which time zone the periods of budgets begin."""

    zone: ZoneInfo

    async def on_attempt_ended(self, tx: Transaction, event: AttemptEnded) -> None:
        """The task is blocked, with the budget that stopped it and what raises it."""
        if event.failure_class is not FailureClass.BUDGET_EXHAUSTED or event.will_retry:
            return
        task = await tasks.lock_task(tx, event.order.task_id)
        if task.status not in FINAL:
            await waiting.block_for_budget(tx, task, event.message, self.zone)

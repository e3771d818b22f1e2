"""When a task of a team ends: its run is looked at."""

from agentvine.db.session import Transaction
from agentvine.domains.tasks.events import TaskFinished
from agentvine.domains.team.service import CHANNEL


async def on_task_finished(tx: Transaction, event: TaskFinished) -> None:
    """Wake the chore. Not done here: runs are locked before their tasks, which hold locks now."""
    task = event.task
    if task.plan_id is not None or "team_run" in (task.metadata_ or {}):
        tx.hint(CHANNEL, str(task.id))

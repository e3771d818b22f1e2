"""When a task of a team ends, or somebody answers for it: its run is looked at."""

from agentvine.db.session import Transaction
from agentvine.domains.conversations.events import QuestionSettled
from agentvine.domains.conversations.questions import facts_of
from agentvine.domains.tasks.events import TaskFinished
from agentvine.domains.team.service import CHANNEL


async def on_task_finished(tx: Transaction, event: TaskFinished) -> None:
    """Wake the chore. Not done here: runs are locked before their tasks, which hold locks now."""
    task = event.task
    if task.plan_id is not None or "team_run" in (task.metadata_ or {}):
        tx.hint(CHANNEL, str(task.id))


async def on_question_settled(tx: Transaction, event: QuestionSettled) -> None:
    """Wake the chore. Not done here: a run is locked before its question, which is locked now."""
    if (about := facts_of(event.question).about) is not None:
        tx.hint(CHANNEL, str(about.team_run_id))

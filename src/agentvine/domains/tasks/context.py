"""What a task keeps in its ``context`` document."""

from decimal import Decimal

from pydantic import BaseModel, ConfigDict

from agentvine.domains.tasks.models import Task
from agentvine.protocol.tasks import TaskRun


class TaskContext(BaseModel):
    """How the task is run, and whether somebody has said go."""

    model_config = ConfigDict(frozen=True)

    schema_version: int = 1
    run: TaskRun = TaskRun()
    is_started: bool = False
    budget_room: Decimal | None = None
    """What part of its tightest budget was left when that stopped it: with more, it goes on."""
    why_rejected: str | None = None
    """What somebody did not like of its last change: the next attempt is told."""


def read_context(task: Task) -> TaskContext:
    """The typed document of a task."""
    return TaskContext.model_validate(task.context or {})


def write_context(task: Task, context: TaskContext) -> None:
    """Replace the document; a new object, so that the change is noticed."""
    task.context = context.model_dump(mode="json")

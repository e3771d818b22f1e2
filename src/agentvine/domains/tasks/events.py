"""What happens to tasks, told to the reactions in the same transaction."""

from dataclasses import dataclass

from agentvine.domains.tasks.models import Task


@dataclass(frozen=True, slots=True)
class TaskReady:
    """Nothing holds the task back any more: it wants a work order."""

    task: Task


@dataclass(frozen=True, slots=True)
class TaskCancelRequested:
    """Somebody wants the task stopped; its order, if it has one, must end first."""

    task: Task
    reason: str


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """The task is over: completed, failed or cancelled.

    Not told of what the database does in one statement (``shortcuts.py``): who needs to know of
    every end looks again from time to time.
    """

    task: Task


@dataclass(frozen=True, slots=True)
class TaskEdited:
    """Something its waiting work order should know changed: priority, or how it is run."""

    task: Task


@dataclass(frozen=True, slots=True)
class TaskHeldBack:
    """A queued task must wait after all: its order is taken out of the queue."""

    task: Task

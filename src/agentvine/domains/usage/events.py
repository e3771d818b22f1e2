"""What happens to budgets, told to the reactions in the same transaction."""

from dataclasses import dataclass

from agentvine.domains.tasks.models import Task


@dataclass(frozen=True, slots=True)
class BudgetExhausted:
    """A budget has stopped a task, which waits until more of it is left."""

    task: Task
    key: str
    """Names the budget, its period, and what is allowed in it."""
    name: str
    told: str
    """What is left, and what raises it."""
    is_shared: bool
    """Whether other tasks spend from it, too."""

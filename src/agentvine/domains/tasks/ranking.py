"""Who comes first of those that wait. Pure."""

from agentvine.config.settings import QueueSettings
from agentvine.domains.tasks.enums import TaskPriority

_WEIGHT = {
    TaskPriority.LOW: -1,
    TaskPriority.NORMAL: 0,
    TaskPriority.HIGH: 1,
    TaskPriority.CRITICAL: 2,
}


def rank_of(enqueued_at_seconds: float, priority: TaskPriority, settings: QueueSettings) -> int:
    """The order of claims, in microseconds: each step of priority is worth one ageing step."""
    step = settings.ageing_step_seconds * _WEIGHT[priority]
    return round((enqueued_at_seconds - step) * 1_000_000)

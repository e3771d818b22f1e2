"""What happens to workers, told to the reactions in the same transaction."""

from dataclasses import dataclass

from agentvine.domains.workers.models import Worker


@dataclass(frozen=True, slots=True)
class WorkerRetired:
    """An admin deleted the worker: what it holds is to be freed."""

    worker: Worker

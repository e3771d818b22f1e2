"""The daemon that claims work, runs it and reports; it speaks to the server over HTTP only.

Start it with ``run_worker(WorkerConfig(...))``. docs/explanation/worker.md tells how a run goes,
what is on disk at each moment, and what happens when the worker dies there.
"""

from agentvine.worker.config import WorkerConfig
from agentvine.worker.daemon import run_worker
from agentvine.worker.isolation import describe_isolation
from agentvine.worker.leftovers import Leftovers, find_leftovers
from agentvine.worker.upkeep import list_trees, prune_mirrors, prune_set_ups, prune_trees

__all__ = [
    "Leftovers",
    "WorkerConfig",
    "describe_isolation",
    "find_leftovers",
    "list_trees",
    "prune_mirrors",
    "prune_set_ups",
    "prune_trees",
    "run_worker",
]

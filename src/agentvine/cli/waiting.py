"""Why nobody has taken a queued task yet, as far as the list of workers tells."""

from collections.abc import Sequence

from agentvine.cli.formats import fmt_count
from agentvine.protocol.enums import CapabilityLevel, WorkerStatus
from agentvine.protocol.tasks import TaskOut
from agentvine.protocol.workers import WorkerOut

_AWAY = (WorkerStatus.OFFLINE, WorkerStatus.ERROR)
_SHOWN = 3


def why_it_waits(task: TaskOut, workers: Sequence[WorkerOut]) -> str:
    """What the workers lack, and what would help."""
    here = [worker for worker in workers if worker.status not in _AWAY and not worker.is_draining]
    if not here:
        return "no worker is there to take it; start one with `agentvine worker`"
    able = here
    for lack, is_able in (
        (f"takes from the queue {task.run.queue_name!r}", _takes_from_queue),
        (f"takes tasks of the type {task.type.value!r}", _takes_type),
        (f"has the runtime {task.run.runtime!r}", _has_runtime),
        (f"knows {_skills_of(task)}", _is_skilled),
    ):
        before, able = able, [worker for worker in able if is_able(task, worker)]
        if not able:
            count = fmt_count(len(here), "worker")
            advice = _runtime_help(task, before) if is_able is _has_runtime else ""
            advice = advice or "; see `agentvine worker list`"
            return f"{count} here, but none of them {lack}{advice}"
    return f"{fmt_count(len(able), 'worker')} could take it; others are first, or they are busy"


def _runtime_help(task: TaskOut, workers: Sequence[WorkerOut]) -> str:
    """What each of them misses for the task's runtime, as far as they have told."""
    problems = [
        f"\n  {worker.name}: {report.problem}"
        for worker in workers
        for report in worker.runtime_reports or ()
        if report.name == task.run.runtime and report.problem
    ]
    if not problems:
        return ""
    more = "\n  ..." if len(problems) > _SHOWN else ""
    return f"{''.join(problems[:_SHOWN])}{more}\nthen start the worker again"


def _takes_from_queue(task: TaskOut, worker: WorkerOut) -> bool:
    return task.run.queue_name in worker.queues


def _takes_type(task: TaskOut, worker: WorkerOut) -> bool:
    return not worker.accepts or task.type.value in worker.accepts


def _has_runtime(task: TaskOut, worker: WorkerOut) -> bool:
    return task.run.runtime in worker.runtimes


def _is_skilled(task: TaskOut, worker: WorkerOut) -> bool:
    levels = list(CapabilityLevel)
    known = {str(skill["name"]): CapabilityLevel(skill["level"]) for skill in worker.capabilities}
    return all(
        name in known and levels.index(known[name]) >= levels.index(level)
        for name, level in task.run.capabilities.items()
    )


def _skills_of(task: TaskOut) -> str:
    return ", ".join(f"{name}:{level.value}" for name, level in task.run.capabilities.items())

"""What those who watch a queued task are told when nobody takes it."""

from typing import Any

import pytest

from agentvine.cli.waiting import why_it_waits
from agentvine.protocol.enums import CapabilityLevel, TaskType, WorkerStatus
from agentvine.protocol.tasks import TaskOut, TaskRun
from agentvine.protocol.workers import RuntimeReportOut, WorkerOut


def task(**run: Any) -> TaskOut:
    fields: dict[str, Any] = dict.fromkeys(TaskOut.model_fields)
    return TaskOut.model_construct(**fields | {"type": TaskType.REFACTOR, "run": TaskRun(**run)})


def worker(**more: Any) -> WorkerOut:
    fields: dict[str, Any] = dict.fromkeys(WorkerOut.model_fields) | {
        "status": WorkerStatus.IDLE,
        "is_draining": False,
        "accepts": [],
        "runtimes": ["command"],
        "queues": ["default"],
        "capabilities": [{"name": "python", "level": "advanced"}],
    }
    return WorkerOut.model_construct(**fields | more)


@pytest.mark.parametrize(
    "workers",
    [
        [],
        [worker(status=WorkerStatus.OFFLINE)],
        [worker(status=WorkerStatus.ERROR), worker(is_draining=True)],
    ],
)
def test_without_a_worker_one_is_to_be_started(workers: list[WorkerOut]):
    said = why_it_waits(task(), workers)

    assert said == "no worker is there to take it; start one with `agentvine worker`"


@pytest.mark.parametrize(
    ("wanted", "lack"),
    [
        (task(queue_name="slow"), "takes from the queue 'slow'"),
        (task(runtime="other"), "has the runtime 'other'"),
        (task(capabilities={"python": CapabilityLevel.EXPERT}), "knows python:expert"),
        (task(capabilities={"rust": CapabilityLevel.BEGINNER}), "knows rust:beginner"),
    ],
)
def test_what_all_workers_lack_is_named(wanted: TaskOut, lack: str):
    said = why_it_waits(wanted, [worker(), worker(), worker(status=WorkerStatus.OFFLINE)])

    assert said.startswith(f"2 workers here, but none of them {lack}")


def test_what_is_missing_for_a_runtime_is_told_by_each_that_looked_for_it():
    problem = "claude is not installed: npm install -g x@1"
    report = RuntimeReportOut(name="claude-code", is_available=False, problem=problem)
    workers = [worker(name="box", runtime_reports=[report]), worker(name="older")]

    said = why_it_waits(task(runtime="claude-code"), workers)

    assert said.startswith("2 workers here, but none of them has the runtime 'claude-code'")
    assert said.endswith(f"\n  box: {problem}\nthen start the worker again")


def test_a_type_that_nobody_takes_is_named():
    said = why_it_waits(task(), [worker(accepts=["docs"])])

    assert "none of them takes tasks of the type 'refactor'" in said


def test_what_no_single_worker_has_together_is_named_too():
    """One has the queue, the other the skill: neither could take it."""
    wanted = task(queue_name="slow", capabilities={"rust": CapabilityLevel.BEGINNER})
    workers = [
        worker(queues=["slow"]),
        worker(capabilities=[{"name": "rust", "level": "expert"}]),
    ]

    assert "none of them knows rust:beginner" in why_it_waits(wanted, workers)


def test_workers_that_could_take_it_are_counted():
    wanted = task(capabilities={"python": CapabilityLevel.ADVANCED})
    able = worker(accepts=["refactor"], status=WorkerStatus.BUSY)

    assert why_it_waits(wanted, [able, worker()]).startswith("2 workers could take it")

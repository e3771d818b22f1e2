"""Progress as plain lines, for logs and pipes; ``cli.live`` draws it at a terminal."""

import uuid
from types import TracebackType
from typing import Self

import click

from agentvine.cli.output import printable
from agentvine.kit.clock import Clock, SystemClock
from agentvine.protocol.enums import TaskStatus
from agentvine.protocol.executions import ExecutionOut, LogLineOut
from agentvine.protocol.tasks import TaskOut


class PlainProgress:
    """One line for each thing that happens, with the minutes and seconds since the start."""

    def __init__(
        self, *, label: str = "", clock: Clock | None = None, began: float | None = None
    ) -> None:
        """Begin to count the time, or go on from an earlier moment of the clock."""
        self._label = label
        self._clock = clock or SystemClock()
        self._began = self._clock.monotonic() if began is None else began
        self._attempt: uuid.UUID | None = None

    def __enter__(self) -> Self:
        """Nothing is to be set up."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is to be put away."""

    def labelled(self, label: str) -> Self:
        """The same clock, for one of several tasks that are shown together."""
        return type(self)(label=f"{label} ", clock=self._clock, began=self._began)

    def task(self, task: TaskOut) -> None:
        """It stands somewhere else."""
        self.note(f"{task.ref} {say_status(task)}")

    def execution(self, execution: ExecutionOut) -> None:
        """An attempt has begun, or is in another phase."""
        if execution.id != self._attempt:
            self._attempt = execution.id
            self.note(f"{self._label}attempt {execution.attempt} begins")

    def line(self, line: LogLineOut) -> None:
        """It has printed a line."""
        click.secho(f"        | {self._label}{printable(line.message)}", dim=True)

    def note(self, text: str) -> None:
        """Something else."""
        minutes, seconds = divmod(int(self._clock.monotonic() - self._began), 60)
        click.echo(f"[{minutes:02d}:{seconds:02d}] {text}")


class SilentProgress(PlainProgress):
    """Nothing; for those who only read the end."""

    def line(self, line: LogLineOut) -> None:
        """It has printed a line."""

    def note(self, text: str) -> None:
        """Something else."""


def say_status(task: TaskOut) -> str:
    """Where a task stands, in words."""
    said = _SAID.get(task.status, f"is {task.status.value}")
    return f"{said}: {task.status_reason}" if task.status_reason else said


_SAID = {
    TaskStatus.IN_PROGRESS: "is in progress",
    TaskStatus.TESTING: "is being tested",
    TaskStatus.REVIEW: "is in review",
    TaskStatus.FAILED: "failed",
}

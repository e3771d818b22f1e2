"""The moving part at a terminal, drawn into a text."""

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from agentvine.cli.live import LiveProgress
from agentvine.kit.clock import ManualClock
from agentvine.kit.ids import new_id
from agentvine.protocol.enums import ExecutionPhase, LogLevel, TaskStatus
from agentvine.protocol.executions import ExecutionOut, LogLineOut
from agentvine.protocol.tasks import TaskOut

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def task(status: TaskStatus, title: str = "Sort the imports", reason: str = "") -> TaskOut:
    fields: dict[str, Any] = dict.fromkeys(TaskOut.model_fields)
    known = {"ref": "T-7", "title": title, "status": status, "status_reason": reason or None}
    return TaskOut.model_construct(**fields | known)


def execution(phase: ExecutionPhase, attempt: int = 1) -> ExecutionOut:
    fields: dict[str, Any] = dict.fromkeys(ExecutionOut.model_fields)
    known = {"id": new_id(), "phase": phase, "attempt": attempt}
    return ExecutionOut.model_construct(**fields | known)


def line(message: str) -> LogLineOut:
    return LogLineOut(
        id=1,
        stream="stdout",
        seq=1,
        level=LogLevel.INFO,
        message=message,
        logged_at=NOW,
        metadata={},
    )


class Screen:
    """A terminal of some width, and the display that draws on it."""

    def __init__(self, width: int) -> None:
        self.console = Console(
            file=io.StringIO(), width=width, force_terminal=True, color_system=None
        )
        self.clock = ManualClock(NOW)
        self.progress = LiveProgress(console=self.console, clock=self.clock)

    def frame(self) -> list[str]:
        with self.console.capture() as captured:
            self.console.print(self.progress._draw())
        return captured.get().splitlines()


def test_the_state_the_phase_and_the_time_are_in_one_line():
    screen = Screen(80)
    screen.progress.task(task(TaskStatus.IN_PROGRESS))
    screen.progress.execution(execution(ExecutionPhase.RUNNING))
    screen.clock.advance(65)

    [head] = screen.frame()
    assert head[1:] == " T-7 Sort the imports · running · 1 min 05 s"


@pytest.mark.parametrize("width", [20, 40, 60])
def test_however_narrow_it_is_every_line_stays_one_line(width: int):
    screen = Screen(width)
    screen.progress.task(task(TaskStatus.QUEUED, title="A very long title 日本語 " * 5))
    for number in range(9):
        screen.progress.line(line(f"{number} " + "a long line " * 20))

    rows = screen.frame()
    assert len(rows) == 7, "the head and the last six lines"
    assert all(len(row) <= width for row in rows)
    assert rows[-1].startswith("  │ 8 a long")


def test_a_long_title_gives_way_to_the_state():
    screen = Screen(50)
    screen.progress.task(task(TaskStatus.QUEUED, title="A title that is much too long for this"))

    [head] = screen.frame()
    assert "…" in head
    assert head.endswith(" · queued · 0.0 s")


def test_what_happened_stays_above_and_a_new_attempt_begins_with_no_lines():
    screen = Screen(80)
    first = execution(ExecutionPhase.RUNNING)
    screen.progress.execution(first)
    screen.progress.line(line("from the first"))
    assert any("from the first" in row for row in screen.frame())

    screen.progress.task(task(TaskStatus.FAILED, reason="tests failed"))
    screen.progress.execution(execution(ExecutionPhase.STARTING, attempt=2))

    assert isinstance(screen.console.file, io.StringIO)
    above = screen.console.file.getvalue()
    assert "T-7 failed: tests failed" in above
    assert "attempt 2 begins" in above
    assert not any("from the first" in row for row in screen.frame())


def test_what_a_program_prints_cannot_move_the_cursor():
    screen = Screen(80)
    screen.progress.line(line("\x1b[2Jwiped\x07"))

    assert screen.frame()[-1].strip() == "│ wiped"

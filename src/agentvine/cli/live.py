"""Progress at a terminal: what happened above, what happens now below, with a spinner.

Loaded only at a terminal, because rich is slow to import.
"""

from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from agentvine.cli.formats import fmt_duration
from agentvine.cli.output import printable
from agentvine.cli.progress import say_status
from agentvine.cli.terminal import STATUS_STYLES
from agentvine.kit.clock import Clock, SystemClock
from agentvine.protocol.enums import TaskStatus
from agentvine.protocol.executions import ExecutionOut, LogLineOut
from agentvine.protocol.tasks import TaskOut

_LINES = 6
_NARROWEST_TITLE = 12


class LiveProgress:
    """A spinner with the task, its state, its phase, the time; under it the last log lines."""

    def __init__(self, *, console: Console | None = None, clock: Clock | None = None) -> None:
        """Begin to count the time."""
        self._console = console or Console()
        self._clock = clock or SystemClock()
        self._began = self._clock.monotonic()
        self._task: TaskOut | None = None
        self._execution: ExecutionOut | None = None
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=10,
            transient=True,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wipe the moving part; what happened stays."""
        self._live.stop()

    def task(self, task: TaskOut) -> None:
        """It stands somewhere else."""
        self._task = task
        self._above(f"{task.ref} {say_status(task)}", STATUS_STYLES.get(task.status.value, ""))

    def execution(self, execution: ExecutionOut) -> None:
        """An attempt has begun, or is in another phase."""
        if self._execution is not None and self._execution.id != execution.id:
            self._lines.clear()
            self._above(f"attempt {execution.attempt} begins", "cyan")
        self._execution = execution

    def line(self, line: LogLineOut) -> None:
        """It has printed a line."""
        self._lines.append(printable(line.message))

    def note(self, text: str) -> None:
        """Something else."""
        self._above(text, "yellow")

    def _above(self, text: str, style: str) -> None:
        elapsed = fmt_duration(self._elapsed())
        self._console.print(Text.assemble((f"{elapsed:>12}  ", "dim"), (text, style)))

    def _draw(self) -> RenderableType:
        rows: list[RenderableType] = [self._head()]
        rows += [
            Text(f"  │ {line}", style="dim", no_wrap=True, overflow="ellipsis")
            for line in self._lines
        ]
        return Group(*rows)

    def _head(self) -> RenderableType:
        if self._task is None:
            name, state = "starting", ""
        else:
            name, state = f"{self._task.ref} {self._task.title}", f" · {self._state(self._task)}"
        state += f" · {fmt_duration(self._elapsed())}"
        # One line, however narrow: the title gives way first, not the state.
        frame = self._spinner.render(self._console.get_time())
        assert isinstance(frame, Text), "a spinner without words is its frame"
        width = self._console.width - 2
        title, rest = Text(printable(name)), Text(state)
        title.truncate(max(width - rest.cell_len, _NARROWEST_TITLE), overflow="ellipsis")
        line = Text.assemble(title, rest)
        line.truncate(width, overflow="ellipsis")
        return Text.assemble(frame, " ", line)

    def _state(self, task: TaskOut) -> str:
        """What is being done, while something is; otherwise where the task stands."""
        if self._execution is not None and task.status in (
            TaskStatus.IN_PROGRESS,
            TaskStatus.TESTING,
        ):
            return self._execution.phase.value
        return task.status.value.replace("_", " ")

    def _elapsed(self) -> float:
        return self._clock.monotonic() - self._began

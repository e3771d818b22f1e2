"""A bound on how long the slow tests may take, so that CI ends in time on a slow machine, too.

With ``--begin-within SECONDS`` a test that has not begun by then is left out, and the summary says
how many were. Tests come in a random order: each run leaves out others.
"""

import time
from typing import Any

import pytest

_OUTPUT = "left_out"


class TimeBudget:
    """Leaves out what comes too late; in a process that runs tests, or in the one that counts."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._left_out = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> bool | None:
        """Run nothing of a test whose turn comes too late."""
        del item
        if time.monotonic() < self._deadline:
            return None
        self._left_out += 1
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Tell the process that counts."""
        output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
        if output is not None:
            output[_OUTPUT] = self._left_out

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Count what a process has left out."""
        self._left_out += getattr(node, "workeroutput", {}).get(_OUTPUT, 0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many tests were left out."""
        if self._left_out:
            terminalreporter.write_line(
                f"{self._left_out} tests were left out: there was no time to begin them. "
                "`just test-slow` runs them all.",
                yellow=True,
            )


def add_option(parser: pytest.Parser) -> None:
    """Offer ``--begin-within``."""
    parser.addoption(
        "--begin-within",
        type=float,
        metavar="SECONDS",
        help="leave out the tests that have not begun by then; default: none",
    )


def watch_the_time(config: pytest.Config) -> None:
    """Keep to ``--begin-within``, where it is given."""
    seconds: float | None = config.getoption("--begin-within")
    if seconds is not None:
        config.pluginmanager.register(TimeBudget(seconds))

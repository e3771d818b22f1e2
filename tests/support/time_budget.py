"""A bound on how long the slow tests may take, so that CI ends in time on a slow machine, too.

With ``--begin-within SECONDS`` a test that has not begun by then is left out, and the summary says
how many were. Tests come in a random order: each run leaves out others.
"""

import time

import pytest

_REASON = "left out: the time for slow tests is over"
_started = time.monotonic()


def add_option(parser: pytest.Parser) -> None:
    """Offer ``--begin-within``."""
    parser.addoption(
        "--begin-within",
        type=float,
        metavar="SECONDS",
        help="leave out the tests that have not begun by then; default: none",
    )


def leave_out_when_late(item: pytest.Item) -> None:
    """Skip a test whose turn comes too late."""
    limit = item.config.getoption("--begin-within")
    if limit is not None and time.monotonic() - _started > float(limit):
        pytest.skip(_REASON)


def tell(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in the summary how many tests were left out."""
    late = [
        report
        for report in terminalreporter.getreports("skipped")
        if isinstance(report.longrepr, tuple) and report.longrepr[2].endswith(_REASON)
    ]
    if late:
        terminalreporter.write_line(
            f"{len(late)} tests were left out, since this machine is slow; "
            "`just test-slow` runs them all.",
            yellow=True,
        )

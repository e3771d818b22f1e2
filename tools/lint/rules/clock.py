"""The time comes from a ``Clock``, or from ``tx.now`` inside a command.

Two calls of ``datetime.now`` in one command give two instants, so rows of one change disagree; a
naive one is wrong by the machine's zone; and a test that cannot turn the clock must sleep. A clock
that can be stepped by an administrator never measures a duration: that is ``Clock.monotonic``.
"""

from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_WALL = {
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
    "time.time",
    "time.time_ns",
    "time.localtime",
    "time.gmtime",
}
_MONOTONIC = {"time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"}
# Durations of programs, requests and statements are measured where they run; rules take a Clock.
_RULES = Scope(
    include=tuple(f"src/agentvine/{name}/*" for name in ("domains", "http", "reactions"))
)


def check(source: SourceFile) -> Iterator[Finding]:
    """Uses of the machine's clock, called or passed on."""
    banned = _WALL | _MONOTONIC if _RULES.covers(source.path) else _WALL
    for node, name in source.references():
        if name in banned:
            yield Finding.at(node, f"{name} outside kit/: take tx.now or an injected Clock")


RULE = Rule(
    code="AV002",
    title="the clock is read in kit/ only",
    scope=Scope(include=("src/agentvine/*",), exclude=("src/agentvine/kit/*",)),
    words=("datetime", "time"),
    check=check,
    good=(
        Sample("src/agentvine/kit/clock.py", "import time\nnow = time.time()\n"),
        Sample("src/agentvine/worker/run.py", "import time\nstarted = time.monotonic()\n"),
        Sample("src/agentvine/domains/tasks/service.py", "task.started_at = tx.now\n"),
        Sample(
            "src/agentvine/domains/tasks/models.py",
            "from datetime import datetime\ncreated_at: datetime\n",
        ),
    ),
    bad=(
        Sample(
            "src/agentvine/domains/tasks/service.py",
            "from datetime import UTC, datetime\nnow = datetime.now(UTC)\n",
        ),
        Sample(
            "src/agentvine/domains/tasks/models.py",
            "import datetime as dt\ncolumn(default=dt.datetime.utcnow)\n",
        ),
        Sample("src/agentvine/worker/run.py", "from time import time\nstamp = time()\n"),
        Sample("src/agentvine/domains/work/jobs.py", "import time\nx = time.monotonic()\n"),
    ),
)

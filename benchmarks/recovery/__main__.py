"""``just bench-recovery``: how long a job waits whose worker was killed, as a table."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.queue.services import Services, running_services
from benchmarks.recovery import killing


@dataclass(frozen=True)
class Case:
    """A system, and how it is set up for this."""

    name: str
    measure: Callable[[Services, float], float | None]
    settings: str
    without: str


def _ours(names: tuple[str, str]) -> Callable[[Services, float], float | None]:
    return lambda services, patience: asyncio.run(killing.ours(services, names, patience))


def _other(
    system: str, executors: tuple[str, str] = ("", "")
) -> Callable[[Services, float], float | None]:
    return lambda services, patience: killing.other(services, system, executors, patience)


_CASES = {
    "ours": Case(
        "AgentVine, another worker",
        _ours(("w1", "w2")),
        "lease of 10 s",
        "after 60 s",
    ),
    "ours-same": Case(
        "AgentVine, the same worker again",
        _ours(("w1", "w1")),
        "none: its next process reports the run that was cut off, and 5 s of back-off follow",
        "",
    ),
    "procrastinate": Case(
        "procrastinate",
        _other("procrastinate"),
        "a periodic task of one's own, each second, that retries jobs of workers silent for 10 s",
        "never",
    ),
    "pgqueuer": Case(
        "pgqueuer",
        _other("pgqueuer"),
        "`heartbeat_timeout` 10 s, `dequeue_timeout` 1 s",
        "after 30 to 60 s",
    ),
    "dbos": Case(
        "DBOS, the same executor again",
        _other("dbos", ("one", "one")),
        "none needed: an executor looks for its own workflows when it starts",
        "",
    ),
    "dbos-other": Case(
        "DBOS, another executor",
        _other("dbos", ("one", "two")),
        "none in the library: Conductor, a service of its own, is to tell another executor",
        "never",
    ),
    "celery": Case(
        "celery, Redis",
        _other("celery"),
        "`acks_late`, `visibility_timeout` 10 s, looked for each second; "
        "a job that takes longer runs twice",
        "lost; with `acks_late` alone after an hour",
    ),
    "dramatiq": Case(
        "dramatiq, Redis",
        _other("dramatiq"),
        "`heartbeat_timeout` 10 s, looked for at each command",
        "after 60 s, when one command of a thousand looks for it",
    ),
    "rq": Case(
        "rq, Redis",
        _other("rq"),
        "`Retry`, maintenance each second, monitoring each 10 s, to which it adds 60",
        "it fails, at the first maintenance (each ten minutes) after 90 s",
    ),
    "huey": Case(
        "huey, SQLite",
        _other("huey"),
        "none: a job leaves the queue when it is taken; `retries` are for exceptions",
        "lost",
    ),
}


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery")
    parser.add_argument("what", nargs="*", choices=[[], *_CASES], help="all, unless named")
    parser.add_argument("--patience", type=float, default=90.0, help="seconds to wait for each")
    parser.add_argument("--out", type=Path, help="write the table here")
    options = parser.parse_args()
    lines = [
        "| System | Runs again after | Set for it | Without that |",
        "| --- | ---: | --- | --- |",
    ]
    with running_services() as services:
        for case in (_CASES[name] for name in options.what or _CASES):
            seconds = case.measure(services, options.patience)
            found = (
                f"not within {options.patience:.0f} s" if seconds is None else f"{seconds:.1f} s"
            )
            lines.append(f"| {case.name} | {found} | {case.settings} | {case.without} |")
            print(lines[-1], flush=True)
    table = "\n".join(lines) + "\n"
    if options.out:
        options.out.write_text(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``just bench``: one run, the baseline at its beginning and end, and a table of ratios."""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from agentvine.reactions.shortcuts import PLAIN
from benchmarks.queue import floor, lite, ours, raw
from benchmarks.queue.cost import Cost
from benchmarks.queue.services import Services, running_services

_OTHERS = {
    "procrastinate": 4000,
    "pgqueuer-1": 4000,
    "pgqueuer-10": 15000,
    "pgqueuer-100": 20000,
    "dbos": 2000,
    "celery": 5000,
    "dramatiq": 10000,
    "rq": 2000,
    "huey": 5000,
}
_BATCHES = {1: 6000, 10: 15000, 100: 30000}
_WITHOUT = {
    "": "",
    "indexes": " without secondary indexes",
    "keys": " without them and foreign keys",
}


@dataclass
class Run:
    """What was measured, in its order; each is compared with the baselines around it."""

    services: Services
    scale: float
    rows: list[tuple[str, float, float | None]] = field(
        default_factory=list[tuple[str, float, "float | None"]]
    )
    """The name, jobs a second, and microseconds of CPU for a job where they are known."""
    ratios: list[float] = field(default_factory=list[float])
    baselines: list[Cost] = field(default_factory=list[Cost])

    def count(self, full: int) -> int:
        """How many jobs, in this run's form."""
        return max(500, round(full * self.scale / 500) * 500)

    def baseline(self) -> None:
        """Measure what all others are divided by."""
        self.baselines.append(self.raw(1))
        around = statistics.mean(each.rate for each in self.baselines[-2:])
        self.ratios += [rate / around for _, rate, _ in self.rows[len(self.ratios) :]]
        print(f"baseline {self.baselines[-1].rate:,.0f}/s", flush=True)

    def raw(self, batch: int) -> Cost:
        """The plain loop."""
        return uvloop.run(
            raw.drain_postgres(
                self.services.dsn("raw"),
                count=self.count(_BATCHES[batch] * 2),
                batch=batch,
                connections=8,
            )
        )

    def add(self, name: str, measure: Callable[[], Cost | float]) -> None:
        """Measure one system."""
        found = measure()
        if isinstance(found, Cost):
            self.rows.append((name, found.rate, found.cpu_each))
        else:
            self.rows.append((name, found, None))
        print(f"{name} {self.rows[-1][1]:,.0f}/s", flush=True)

    def table(self, command: str) -> str:
        """All of it in Markdown."""
        base = statistics.median(each.rate for each in self.baselines)
        cpu = statistics.median(each.cpu_each for each in self.baselines)
        spread = ", ".join(f"{each.rate:,.0f}" for each in self.baselines)
        lines = [
            f"`{command}`; baseline measured {len(self.baselines)} times: {spread} jobs/s.",
            "",
            "| System | Jobs/s | Ratio | CPU, µs a job | Jobs for its CPU, ratio |",
            "| --- | ---: | ---: | ---: | ---: |",
            f"| plain asyncpg loop, batch 1 | {base:,.0f} | 1.00 | {cpu:,.0f} | 1.00 |",
        ]
        for (name, rate, each), ratio in zip(self.rows, self.ratios, strict=True):
            spent = f"{each:,.0f} | {cpu / each:.2f}" if each else "|"
            lines.append(f"| {name} | {rate:,.0f} | {ratio:.2f} | {spent} |")
        return "\n".join(lines) + "\n"


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.queue")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of jobs")
    parser.add_argument("--only", choices=["ours", "others", "sqlite"], help="leave out the rest")
    parser.add_argument("--out", type=Path, help="write the table here")
    options = parser.parse_args()
    tables: list[str] = []
    run = _measured(options.only, options.scale) if options.only != "sqlite" else None
    if run is not None:
        tables.append(run.table("python -m benchmarks.queue " + " ".join(sys.argv[1:])))
    if options.only in (None, "sqlite"):
        with tempfile.TemporaryDirectory() as folder:
            tables.append(lite.measure(Path(folder), options.scale))
    print("\n".join(tables))
    if options.out:
        options.out.write_text("\n".join(tables))
    return 1 if run is not None and any(math.isnan(rate) for _, rate, _ in run.rows) else 0


def _measured(only: str | None, scale: float) -> Run:
    with running_services() as services:
        services.postgres.create_database("raw")
        run = Run(services, scale)
        run.baseline()
        if only != "others":
            measure_ours(run)
            run.baseline()
        if only != "ours":
            for system, count in _OTHERS.items():
                run.add(system, lambda s=system, c=count: other(run.services, s, run.count(c)))
            run.baseline()
    return run


def measure_ours(run: Run) -> None:
    """Plain loops in batches, our statements on them alone, our whole life, and its floor."""
    for batch in (10, 100):
        run.add(f"plain asyncpg loop, batch {batch}", lambda b=batch: run.raw(b))
    for batch, count in _BATCHES.items():
        for name, plain in (("orders alone", ours.BARE), ("whole life", PLAIN)):
            run.add(
                f"AgentVine, {name}, batch {batch}",
                lambda p=plain, c=count, b=batch: uvloop.run(
                    ours.drain(run.services, p, count=run.count(c), batch=b)
                ),
            )
    for batch in (1, 10, 100):
        run.add(
            f"the floor of the orders alone, batch {batch}",
            lambda b=batch: uvloop.run(
                floor.drain(run.services, count=run.count(_BATCHES[b]), batch=b, is_alone=True)
            ),
        )
    for without, batches in (("", (1, 10, 100)), ("indexes", (10, 100)), ("keys", (10, 100))):
        for batch in batches:
            run.add(
                f"the floor{_WITHOUT[without]}, batch {batch}",
                lambda w=without, b=batch: uvloop.run(
                    floor.drain(run.services, count=run.count(_BATCHES[b]), batch=b, without=w)
                ),
            )
    run.add(
        "AgentVine, whole life, the long way, batch 10",
        lambda: uvloop.run(ours.drain(run.services, None, count=500, batch=10)),
    )


def other(services: Services, system: str, count: int) -> float:
    """One of the others, in a process of its own."""
    name = f"other_{system.replace('-', '_')}"
    services.postgres.create_database(name)
    with tempfile.TemporaryDirectory(dir=services.folder) as folder:
        environment = {
            **os.environ,
            "BENCH_SYSTEM": system.partition("-")[0],
            "BENCH_DSN": services.dsn(name),
            "BENCH_REDIS": services.redis_url,
            "BENCH_MARKS": f"{folder}/marks.bin",
        }
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.queue.others", system, str(count)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=300,
        )
    if done.returncode != 0:
        print(f"{system} failed ({done.returncode})", file=sys.stderr)
        return float("nan")
    return float(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    sys.exit(main())

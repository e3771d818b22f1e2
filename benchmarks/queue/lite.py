"""The queue on SQLite, beside the plainest loop over ``sqlite3``, both with synchronous=FULL."""

import statistics
from pathlib import Path

import uvloop

from agentvine.domains.work.plain import Plain
from agentvine.reactions.shortcuts import PLAIN
from benchmarks.queue import ours, raw
from benchmarks.queue.cost import Cost

_COUNTS = {1: 3000, 10: 10_000}
_LONG = 100
_CLAIMERS = (1, 8)
_LIVES: tuple[tuple[str, Plain | None], ...] = (
    ("orders alone", ours.BARE),
    ("whole life", PLAIN),
    ("whole life, the long way", None),
)


def measure(folder: Path, scale: float) -> str:
    """A table; each row is compared with the plain loops of its batch around it."""
    lines = [
        "| System | Batch | Claimers | Jobs/s | Ratio | CPU, µs a job | Jobs for its CPU, ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for batch, full in _COUNTS.items():
        count = max(500, round(full * scale / 500) * 500)
        before = _plain(folder, count, batch)
        lines.append(_row("plain sqlite3", batch, 1, before, before))
        for name, described in _LIVES:
            for claimers in _CLAIMERS:
                jobs = count if described is not None else _LONG
                cost = _drain(folder, described, jobs, batch, claimers)
                after = _plain(folder, count, batch)
                lines.append(_row(name, batch, claimers, cost, before, after))
                print(lines[-1], flush=True)
                before = after
    return "\n".join(lines) + "\n"


def _plain(folder: Path, count: int, batch: int) -> Cost:
    for file in folder.glob("plain.db*"):
        file.unlink()
    return raw.drain_sqlite(folder / "plain.db", count=count, batch=batch)


def _drain(folder: Path, described: Plain | None, count: int, batch: int, claimers: int) -> Cost:
    return uvloop.run(
        ours.drain_sqlite(folder, described, count=count, batch=batch, claimers=claimers)
    )


def _row(name: str, batch: int, claimers: int, cost: Cost, *around: Cost) -> str:
    rate = statistics.mean(each.rate for each in around)
    cpu = statistics.mean(each.cpu_each for each in around)
    return (
        f"| {name} | {batch} | {claimers} | {cost.rate:,.0f} | {cost.rate / rate:.2f} "
        f"| {cost.cpu_each:,.0f} | {cpu / cost.cpu_each:.2f} |"
    )

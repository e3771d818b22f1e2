"""``just bench-http``: server, JSON and driver beside others, in one run, as a Markdown table."""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.http import drivers, servers, texts, ways
from benchmarks.queue.services import running_services

_HEAD = ("| What | By | Figure | CPU for one | Ratio |", "| --- | --- | ---: | ---: | ---: |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="For one measurement.")
    parser.add_argument("--rounds", type=int, default=5, help="All take turns so often.")
    parser.add_argument("--out", type=Path, help="Also write the table here.")
    options = parser.parse_args()
    lines = [*_HEAD]
    lines += rated("requests", servers.requests(options.seconds, options.rounds))
    taken = texts.microseconds(options.rounds * 4)
    with running_services() as services:
        taken["take a beat"] = ways.beats(services, options.rounds * 4)
        for what, by in taken.items():
            first = next(iter(by.values()))
            lines += [
                f"| {what} | {name} | | {each:,.1f} µs | {each / first:.2f} |"
                for name, each in by.items()
            ]
        lines += rated("statements", drivers.statements(services, options.seconds, options.rounds))
    table = "\n".join(lines)
    print(table)
    if options.out:
        options.out.write_text(f"{table}\n")


def rated(what: str, found: Mapping[str, tuple[float, float]]) -> Iterable[str]:
    """Lines whose ratio is that of the CPU used to what the first one, which is ours, uses."""
    _, ours = next(iter(found.values()))
    for name, (rate, cpu) in found.items():
        yield f"| {what} | {name} | {rate:,.0f}/s | {cpu * 1000:.0f} µs | {cpu / ours:.2f} |"


if __name__ == "__main__":
    main()

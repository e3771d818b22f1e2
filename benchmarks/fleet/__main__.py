"""``just bench-fleet``: the figures of the fleet in one table, on servers started for them."""

import argparse
import asyncio
import sys
from pathlib import Path

from benchmarks.fleet.measures import ALL, Row
from benchmarks.queue.services import Services, running_services


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet")
    parser.add_argument("what", nargs="*", choices=[[], *ALL], help="all, unless named")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of orders")
    parser.add_argument("--out", type=Path, help="write the table here")
    options = parser.parse_args()
    rows: list[Row] = []
    with running_services() as services:
        for name in options.what or ALL:
            rows += asyncio.run(_measured(name, services, options.scale))
            print(rows[-1], flush=True)
    lines = ["| What | Figure | Beside |", "| --- | ---: | --- |"]
    table = "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"
    print(table)
    if options.out:
        options.out.write_text(table)
    return 0


async def _measured(name: str, services: Services, scale: float) -> list[Row]:
    return await ALL[name](services, scale)


if __name__ == "__main__":
    sys.exit(main())

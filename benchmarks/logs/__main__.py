"""What looking for secrets adds to storing log lines, as a table in Markdown."""

import argparse
import asyncio
import itertools
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from agentvine.config.settings import DatabaseSettings, QueueSettings
from agentvine.db.session import Database
from agentvine.domains.executions import log_store
from agentvine.kit.clock import SystemClock
from agentvine.kit.redaction import mask_lines
from agentvine.protocol.executions import LogBatchIn
from agentvine.protocol.queue import ClaimedOrder
from agentvine.reactions.routing import build_reactions
from agentvine.server.migrations import migration_runner
from tests.support.builders.work import Hand, log_batch, make_crew

_WORDS = "the quick brown fox jumps over src/lazy_dog.py:17 and says that it is done"
_KINDS: dict[str, Callable[[int], str]] = {
    "plain output": lambda number: f"{number} INFO {_WORDS} {_WORDS}",
    "every line with an address": lambda number: (
        f"{number} GET https://example.org/{number} for ada@example.org {_WORDS}"
    ),
    "every line with a secret": lambda number: (
        f"{number} Authorization: Bearer {uuid.uuid5(uuid.NAMESPACE_OID, str(number))} " + _WORDS
    ),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.logs", description=__doc__)
    parser.add_argument("--batches", type=int, default=20, help="How many of each kind.")
    parser.add_argument("--lines", type=int, default=1500, help="How many lines in a batch.")
    parser.add_argument("--out", type=Path, help="Also write the table here.")
    options = parser.parse_args()
    table = asyncio.run(_measure(options.batches, options.lines))
    print(table)
    if options.out:
        options.out.write_text(table + "\n")


async def _measure(batches: int, lines: int) -> str:
    rows = [
        f"SQLite, {batches} batches of {lines} lines each; median times of a batch in ms.",
        "",
        "| Lines | Read and store | of it looking for secrets | Share |",
        "| --- | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory(prefix="agentvine-bench-") as folder:
        settings = DatabaseSettings(url=f"sqlite+aiosqlite:///{folder}/bench.db")
        await migration_runner(settings).setup()
        database = await Database.open(settings, SystemClock(), build_reactions(QueueSettings()))
        try:
            crew = await make_crew(database)
            hand = await crew.worker()
            await crew.enqueue()
            (order,) = await hand.claim()
            first = itertools.count(1, lines)
            for name, line in _KINDS.items():
                texts = [line(number) for number in range(lines)]
                whole: list[float] = []
                looking: list[float] = []
                for _ in range(batches):
                    whole.append(await _store(database, hand, order, texts, next(first)))
                    looking.append(_look(texts))
                total, part = statistics.median(whole) * 1e3, statistics.median(looking) * 1e3
                rows.append(f"| {name} | {total:.1f} | {part:.1f} | {part / total:.0%} |")
        finally:
            await database.close()
    return "\n".join(rows)


async def _store(
    database: Database, hand: Hand, order: ClaimedOrder, texts: list[str], first: int
) -> float:
    """Seconds from the request's bytes to the commit."""
    body = log_batch(order, *texts, first_seq=first).model_dump_json()
    began = time.perf_counter()
    batch = LogBatchIn.model_validate_json(body)
    async with database.transaction(hand.actor) as tx:
        await log_store.append_lines(tx, hand.actor, order.execution_id, batch)
    return time.perf_counter() - began


def _look(texts: list[str]) -> float:
    began = time.perf_counter()
    mask_lines(texts, after=None)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

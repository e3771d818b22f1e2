"""How long it takes to find documents and memories on both databases, as a table in Markdown."""

import argparse
import asyncio
import gc
import statistics
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database, ReadSession
from agentvine.domains.agents import recall
from agentvine.domains.agents.recall import Asked
from agentvine.domains.knowledge import queries
from agentvine.domains.knowledge.queries import Wanted
from agentvine.kit.actor import SYSTEM, UserActor
from agentvine.kit.clock import SystemClock
from agentvine.server.migrations import migration_runner
from benchmarks.search.filling import AGENTS, Filled, Language, fill
from tests.support.postgres import start_postgres

_ADMIN = UserActor(user_id=uuid.uuid4(), username="admin", role="admin")
_LIMIT_MS = 50.0

Search = Callable[[ReadSession, Language, Filled], Awaitable[object]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--agents", type=int, default=AGENTS, help="Who share the memories.")
    parser.add_argument("--searches", type=int, default=200, help="Of each kind.")
    parser.add_argument("--only", choices=("sqlite", "postgres"), help="One database alone.")
    parser.add_argument("--out", type=Path, help="Also write the table here.")
    options = parser.parse_args()
    kinds = (options.only,) if options.only else ("sqlite", "postgres")
    table = asyncio.run(_measure(options, kinds))
    print(table)
    if options.out:
        options.out.write_text(table + "\n")


async def _measure(options: argparse.Namespace, kinds: tuple[str, ...]) -> str:
    rows = [
        f"{options.documents:,} documents of 150 to 1,200 words, {options.memories:,} memories",
        f"of {options.agents} agents, {options.searches} searches of each kind; ms.",
        "",
        "| Search | Database | p50 | p95 | longest |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for kind in kinds:
        with _settings(kind) as settings:
            await migration_runner(settings).setup()
            database = await Database.open(settings, SystemClock())
            try:
                began = time.perf_counter()
                made = await fill(
                    database,
                    Language(),
                    documents=options.documents,
                    memories=options.memories,
                    agents=options.agents,
                )
                print(f"{kind} is filled in {time.perf_counter() - began:.0f} s")
                # As a server does when it has started.
                gc.collect()
                gc.freeze()
                for name, search in _SEARCHES.items():
                    times = await _times(database, made, search, options.searches)
                    rows.append(_row(name, kind, times))
            finally:
                await database.close()
    return "\n".join(rows)


@contextmanager
def _settings(kind: str) -> Iterator[DatabaseSettings]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="agentvine-bench-") as folder:
            yield DatabaseSettings(url=f"sqlite+aiosqlite:///{folder}/bench.db")
        return
    server = start_postgres()
    try:
        server.create_database("bench")
        yield DatabaseSettings(url=server.url("bench"))
    finally:
        server.stop()


async def _times(database: Database, made: Filled, search: Search, count: int) -> list[float]:
    language = Language(seed=1)  # the same words; asked in another order
    language.chance.seed(7)
    times: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        async with database.read() as read:
            await search(read, language, made)
        times.append((time.perf_counter() - began) * 1e3)
    return times


def _row(name: str, kind: str, times: list[float]) -> str:
    p95 = statistics.quantiles(times, n=20)[-1]
    shown = f"**{p95:.1f}**" if p95 >= _LIMIT_MS else f"{p95:.1f}"
    return f"| {name} | {kind} | {statistics.median(times):.1f} | {shown} | {max(times):.1f} |"


async def _documents_of_a_project(read: ReadSession, language: Language, made: Filled) -> object:
    wanted = Wanted(project_id=language.chance.choice(made.projects).id)
    words = language.say(language.chance.randint(1, 3))
    return await queries.search_documents(read, _ADMIN, words, wanted, limit=20)


async def _all_documents(read: ReadSession, language: Language, made: Filled) -> object:
    words = language.say(language.chance.randint(1, 3))
    return await queries.search_documents(read, _ADMIN, words, Wanted(), limit=20)


async def _documents_of_20_projects(read: ReadSession, language: Language, made: Filled) -> object:
    words = language.say(language.chance.randint(1, 3))
    owner_id = made.projects[0].owner_id
    owner = UserActor(user_id=owner_id, username="bench", role="developer")
    return await queries.search_documents(read, owner, words, Wanted(), limit=20)


async def _recall(read: ReadSession, language: Language, made: Filled) -> object:
    agent = language.chance.choice(made.agents)
    asked = Asked(text=language.say(3), project_id=agent.project_id)
    return await recall.recall(read, SYSTEM, agent, asked)


async def _most_important(read: ReadSession, language: Language, made: Filled) -> object:
    return await recall.recall(read, SYSTEM, language.chance.choice(made.agents), Asked())


async def _for_a_run(read: ReadSession, language: Language, made: Filled) -> object:
    agent = language.chance.choice(made.agents)
    asked = Asked(text=language.say(30), project_id=agent.project_id)
    return await recall.recall_for_run(read, SYSTEM, agent, asked)


_SEARCHES: Mapping[str, Search] = {
    "1 to 3 words in the documents of a project": _documents_of_a_project,
    "1 to 3 words in all documents": _all_documents,
    "1 to 3 words in the documents of one's 20 projects": _documents_of_20_projects,
    "3 words in what an agent remembers": _recall,
    "what matters most to an agent": _most_important,
    "30 words, for the brief of a run": _for_a_run,
}


if __name__ == "__main__":
    main()

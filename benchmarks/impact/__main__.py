"""``just bench-impact``: foresee one request in a repository of many Python files, twice."""

import argparse
import ast
import asyncio
import gc
import resource
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.sources.cache import StoredFacts
from agentvine.git.environment import git_environment
from agentvine.git.runner import Git
from agentvine.impact.foresight import foresee
from agentvine.impact.reading import CommitReader
from agentvine.kit.clock import SystemClock
from agentvine.server.migrations import migration_runner

_FUNCTION = '''
def total_{name}(lines: list[int], factor: int = {part}) -> int:
    """Add up what is on an invoice."""
    result = 0
    for index, line in enumerate(lines):
        if line > {part} and index % 2 == 0:
            result += line * factor + len(str(line))
        else:
            result -= max(line, factor, {number})
    return round(result / (factor or 1))
'''
_LOOKS_AGAIN = 5
_REQUEST = "Round the totals of invoices half up, and tell who uses them"


@dataclass(frozen=True, slots=True)
class Took:
    """One measurement: how long it took, and how much of the processor, children's too."""

    seconds: float
    cpu_seconds: float


def write_files(folder: Path, count: int) -> None:
    """A repository of modules with classes, functions and imports, of about 4 KB each."""
    for number in range(count):
        package = folder / "src" / f"package{number % 40}"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").touch()
        (package / f"module{number}.py").write_text(_module(number, count))
    git = ("git", "-C", folder)
    for args in (
        ("git", "init", "-q", "-b", "main", folder),
        (*git, "add", "."),
        (*git, "commit", "-q", "-m", "All files"),
        (*git, "repack", "-q", "-a", "-d"),
    ):
        subprocess.run(args, env=git_environment({}, ()), check=True)


async def measure(folder: Path, database: Database) -> dict[str, Took]:
    """What parsing alone takes, once from nothing, and the middle of five from the cache."""
    git = Git()
    head = subprocess.run(
        ("git", "-C", folder, "rev-parse", "HEAD"), check=True, capture_output=True, text=True
    ).stdout.strip()

    async def look() -> None:
        found = await CommitReader(git, StoredFacts(database)).read(folder, head)
        await foresee(git, folder, found, _REQUEST)

    async def parse() -> None:
        for path in sorted(folder.rglob("*.py")):
            ast.parse(path.read_bytes())

    # As a server does when it has started.
    gc.collect()
    gc.freeze()
    try:
        return {
            "ast.parse of all files": await _timed(parse),
            "first look": await _timed(look),
            "look again": _middle([await _timed(look) for _ in range(_LOOKS_AGAIN)]),
        }
    finally:
        gc.unfreeze()


def table(took: dict[str, Took]) -> str:
    """As Markdown."""
    base = took["ast.parse of all files"].cpu_seconds
    rows = [
        f"| {name} | {each.seconds:.2f} | {each.cpu_seconds:.2f} | {each.cpu_seconds / base:.2f} |"
        for name, each in took.items()
    ]
    return "\n".join(["| What | s | CPU s | Ratio |", "| --- | ---: | ---: | ---: |", *rows])


async def run(files: int) -> dict[str, Took]:
    """Everything, in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="agentvine-bench-") as name:
        folder = Path(name)
        write_files(folder / "repository", files)
        settings = DatabaseSettings(url=f"sqlite+aiosqlite:///{folder / 'bench.db'}")
        await migration_runner(settings).upgrade("head")
        database = await Database.open(settings, SystemClock())
        try:
            return await measure(folder / "repository", database)
        finally:
            await database.close()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.impact", description=__doc__)
    parser.add_argument("--files", type=int, default=2000)
    print(table(asyncio.run(run(parser.parse_args().files))))


async def _timed(action: Callable[[], Awaitable[None]]) -> Took:
    cpu, began = _cpu_seconds(), time.monotonic()
    await action()
    return Took(time.monotonic() - began, _cpu_seconds() - cpu)


def _middle(took: list[Took]) -> Took:
    return sorted(took, key=lambda each: each.seconds)[len(took) // 2]


def _cpu_seconds() -> float:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(each.ru_utime + each.ru_stime for each in map(resource.getrusage, who))


def _module(number: int, count: int) -> str:
    others = [(number * step + 1) % count for step in (3, 7, 11)]
    imports = [f"from package{other % 40}.module{other} import total_{other}" for other in others]
    functions = [
        _FUNCTION.format(name=f"{number}_{part}" if part else number, part=part, number=number)
        for part in range(9)
    ]
    return "\n".join([*imports, *functions])


if __name__ == "__main__":
    main()

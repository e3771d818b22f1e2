"""``just bench-worktrees``: all ways in turn, round after round, and a table of ratios."""

import argparse
import asyncio
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agentvine.git.environment import git_environment
from agentvine.git.external import find_external
from agentvine.git.mirrors import ensure_mirror, resolve_source_branch
from agentvine.git.runner import Git
from agentvine.git.worktrees import add_worktree, set_aside

_PLAIN = "git worktree add"
_AS_FOR_A_RUN = "AgentVine, with a fetch"
_SHM = Path("/dev/shm")
MEMORY = _SHM if _SHM.is_dir() else None
"""Where a busy disk does not hide the difference; None: the usual place."""


class Ground:
    """A repository of many files, its mirror, and ways to get a work tree of it."""

    def __init__(self, folder: Path, files: int) -> None:
        """Prepare; ``make`` makes them."""
        self.folder = folder
        self.files = files
        self.git = Git()
        self.source = folder / "source"
        self.mirror = folder / "mirror.git"
        self.number = 0

    def run(self, *args: str | Path) -> None:
        """Run a command with the same environment as all others."""
        subprocess.run(args, env=git_environment({}, ()), check=True)

    async def make(self) -> None:
        """The repository, and a mirror of it."""
        for number in range(self.files):
            path = self.source / f"package{number % 200}" / f"part{number % 7}" / f"{number}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"value = {number}\n" * 40)
        self.run("git", "init", "-q", "-b", "main", self.source)
        self.run("git", "-C", self.source, "add", ".")
        self.run("git", "-C", self.source, "commit", "-q", "-m", "All files")
        self.run("git", "-C", self.source, "repack", "-q", "-a", "-d")
        await ensure_mirror(self.git, self.source, self.mirror)

    def next(self) -> Path:
        """A folder for the next one."""
        self.number += 1
        return self.folder / f"tree{self.number}"

    async def plain(self) -> Path:
        """As git does it."""
        path = self.next()
        branch = ("-b", path.name, path, "refs/remotes/origin/main")
        self.run("git", "-C", self.mirror, "worktree", "add", "-q", *branch)
        return path

    async def clone(self) -> Path:
        """A clone that borrows its objects."""
        path = self.next()
        self.run("git", "clone", "-q", "--shared", self.source, path)
        return path

    async def ours(self) -> Path:
        """As for a run, without the fetch."""
        path = self.next()
        base = await resolve_source_branch(self.git, self.mirror, "main")
        await find_external(self.git, self.mirror, base)
        await add_worktree(self.git, self.mirror, path, base=base, branch=path.name)
        return path

    async def fetched(self) -> Path:
        """As for a run, with the fetch."""
        await ensure_mirror(self.git, self.source, self.mirror)
        return await self.ours()


async def measure(ground: Ground, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way, each round in another order."""
    ways: list[tuple[str, Callable[[], Awaitable[Path]]]] = [
        (_PLAIN, ground.plain),
        ("git clone --shared", ground.clone),
        ("AgentVine", ground.ours),
        (_AS_FOR_A_RUN, ground.fetched),
    ]
    taken: dict[str, list[float]] = {}
    for turn in range(rounds):
        for name, make in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
            started = time.perf_counter()
            path = await make()
            taken.setdefault(name, []).append(time.perf_counter() - started)
            started = time.perf_counter()
            if name == "AgentVine":
                aside = set_aside(ground.mirror, path, ground.folder / "removed")
                taken.setdefault("AgentVine: take it away", []).append(
                    time.perf_counter() - started
                )
                shutil.rmtree(aside or path)
            else:
                shutil.rmtree(path)
                taken.setdefault("remove its files", []).append(time.perf_counter() - started)
    return taken


def table(taken: dict[str, list[float]]) -> str:
    """Markdown, the best and the middle of each, and the ratio of the best ones."""
    lines = ["| Way | Best, ms | Middle, ms | Ratio |", "| --- | ---: | ---: | ---: |"]
    baseline = min(taken[_PLAIN])
    for name, seconds in taken.items():
        best, middle = min(seconds), statistics.median(seconds)
        lines.append(f"| {name} | {best * 1e3:.0f} | {middle * 1e3:.0f} | {best / baseline:.2f} |")
    return "\n".join([*lines, ""])


def verdict(taken: dict[str, list[float]], files: int) -> str:
    """Whether a run has its work tree in under a second; worth something on an idle machine."""
    best = min(taken[_AS_FOR_A_RUN])
    word = "under" if best < 1 else "not under"
    return f"A work tree of {files:,} files, as for a run: {best:.2f} s, {word} a second.\n"


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=MEMORY)
    parser.add_argument("--out", type=Path, help="Write the table there, too.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        ground = Ground(Path(folder), options.files)
        asyncio.run(ground.make())
        taken = asyncio.run(measure(ground, options.rounds))
    shown = f"{table(taken)}\n{verdict(taken, options.files)}"
    print(shown)
    if options.out:
        options.out.write_text(shown)


if __name__ == "__main__":
    main()

"""All facts of a commit: known by their content, or read by a program of its own."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from agentvine.git.runner import Git
from agentvine.git.trees import Entry, list_entries, read_batch
from agentvine.impact.facts import FileFacts, facts_from_json, language_of
from agentvine.impact.graph import ImportGraph, build_graph
from agentvine.kit.errors import Internal
from agentvine.kit.process import capture

_MAX_FILE_BYTES = 256 * 1024
_MAX_FILES = 30_000
_BATCH_BYTES = 2 * 1024 * 1024
_BATCH_FILES = 300
_PROGRAMS = max(1, min(4, os.cpu_count() or 1))
_BATCH_SECONDS = 300.0
_SHOWN_STDERR_CHARACTERS = 500

BlobKey = tuple[str, str]
"""A content's hash, and the language it is read in."""


class ReaderFailed(Internal):
    """Source files cannot be read on this server."""

    code = "reader_failed"


class FactsCache(Protocol):
    """Keeps facts by content."""

    async def load(self, keys: Sequence[BlobKey]) -> Mapping[BlobKey, FileFacts]:
        """Those that are known."""
        ...

    async def store(self, facts: Mapping[BlobKey, FileFacts]) -> None:
        """Keep some; what is known already stays."""
        ...


class NoCache:
    """Keeps nothing."""

    async def load(self, keys: Sequence[BlobKey]) -> Mapping[BlobKey, FileFacts]:
        """Nothing is known."""
        del keys
        return {}

    async def store(self, facts: Mapping[BlobKey, FileFacts]) -> None:
        """Forget them."""


@dataclass(frozen=True, slots=True)
class CommitMap:
    """The files of a commit, what they define, and who imports whom."""

    commit: str
    files: dict[str, Entry]
    facts: dict[str, FileFacts]
    graph: ImportGraph
    notes: list[str] = field(default_factory=list[str])
    """In sentences what was not looked at."""


@dataclass(frozen=True, slots=True)
class CommitReader:
    """Reads commits of repositories on this machine."""

    git: Git
    cache: FactsCache = field(default_factory=NoCache)
    max_seconds: float = 120.0
    """When to stop reading; the notes then say so."""

    async def read(self, repository: Path, commit: str, *, also: Iterable[str] = ()) -> CommitMap:
        """The map of a commit.

        Args:
            repository: Where.
            commit: Which.
            also: Files that are not in it, for who imports them all the same.

        Raises:
            GitError: Git failed.
        """
        entries = await list_entries(self.git, repository, commit)
        files = {entry.path: entry for entry in entries if entry.is_file}
        wanted = [
            (path, (file.object_id, language))
            for path, file in files.items()
            if (language := language_of(path)) is not None and file.size <= _MAX_FILE_BYTES
        ]
        notes: list[str] = []
        if len(wanted) > _MAX_FILES:
            notes.append(f"Only {_MAX_FILES} of {len(wanted)} source files were looked into.")
        keys = [key for _, key in wanted[:_MAX_FILES]]
        sizes = {file.object_id: file.size for file in files.values()}
        known = await self._known(repository, keys, sizes, notes)
        facts = {path: known[key] for path, key in wanted if key in known}
        graph = await asyncio.to_thread(build_graph, facts, list(also))
        return CommitMap(commit, files, facts, graph, notes)

    async def _known(
        self,
        repository: Path,
        keys: Sequence[BlobKey],
        sizes: Mapping[str, int],
        notes: list[str],
    ) -> dict[BlobKey, FileFacts]:
        known = dict(await self.cache.load(keys))
        missing = [key for key in dict.fromkeys(keys) if key not in known]
        deadline, turns = time.monotonic() + self.max_seconds, asyncio.Semaphore(_PROGRAMS)

        async def read(batch: Sequence[BlobKey]) -> Mapping[BlobKey, FileFacts]:
            async with turns:
                if time.monotonic() > deadline:
                    return {}
                found = await self._read_batch(repository, batch)
            await self.cache.store(found)
            return found

        for found in await asyncio.gather(*(read(batch) for batch in _batches(missing, sizes))):
            known.update(found)
        left = sum(key not in known for key in missing)
        if left:
            notes.append(
                f"Reading was stopped after {self.max_seconds:g} s with {left} files to go; "
                "looking again goes on from there."
            )
        unread = sum(not known[key].is_readable for key in missing if key in known)
        if unread:
            notes.append(f"{unread} files could not be read as what their names say they are.")
        return known

    async def _read_batch(
        self, repository: Path, batch: Sequence[BlobKey]
    ) -> dict[BlobKey, FileFacts]:
        found: dict[BlobKey, FileFacts] = {}
        while len(found) < len(batch):
            rest = batch[len(found) :]
            contents = await read_batch(self.git, repository, [blob for blob, _ in rest])
            lines, has_timed_out = await _run_reader(rest, contents)
            for key, line in zip(rest, lines, strict=False):
                found[key] = facts_from_json(json.loads(line))
            if len(found) < len(batch) and not (lines and has_timed_out):
                # This one has ended the program: it is passed over, now and for ever.
                key = batch[len(found)]
                found[key] = FileFacts(key[1], is_readable=False)
        return found


async def _run_reader(batch: Sequence[BlobKey], contents: bytes) -> tuple[list[bytes], bool]:
    """The facts as lines of JSON, as far as the program came; and whether its time was up."""
    languages = json.dumps([language for _, language in batch]).encode()
    result = await capture(
        [sys.executable, "-I", "-m", "agentvine.impact.reader"],
        cwd=Path(sys.prefix),
        environment={},
        stdin=languages + b"\n" + contents,
        timeout_seconds=_BATCH_SECONDS,
    )
    # The last line has no end when the program was ended while it wrote it.
    lines = result.stdout.split(b"\n")[:-1]
    if result.exit_code > 0 and not lines and b"MemoryError" not in result.stderr:
        said = result.stderr.decode("utf-8", "replace").strip()[-_SHOWN_STDERR_CHARACTERS:]
        raise ReaderFailed(f"The program that reads source files does not run: {said}")
    return lines, result.has_timed_out


def _batches(keys: Sequence[BlobKey], sizes: Mapping[str, int]) -> Iterator[list[BlobKey]]:
    batch: list[BlobKey] = []
    room = _BATCH_BYTES
    for key in keys:
        size = sizes[key[0]]
        if batch and (size > room or len(batch) == _BATCH_FILES):
            yield batch
            batch, room = [], _BATCH_BYTES
        batch.append(key)
        room -= size
    if batch:
        yield batch

"""A look at what a change means: per file its kind, its public names, and who imports it."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel

from agentvine.git.diffs import FileChange, changed_files, diff, read_file
from agentvine.git.errors import FileNotInCommit
from agentvine.git.refs import common_ancestor
from agentvine.git.runner import Git
from agentvine.impact.public_names import NameChanges, compare_public_names
from agentvine.impact.reach import reach_of
from agentvine.impact.reading import CommitMap, CommitReader
from agentvine.protocol.enums import ChangeKind
from agentvine.protocol.impact import Reach
from agentvine.protocol.queue import MAX_DIFF_CHARACTERS, FileImpact

_MAX_COMPARED_FILES = 200
_MAX_COMPARE_SECONDS = 20.0
_MAX_SOURCE_BYTES = 256 * 1024
_MAX_LISTED = 200
"""Names, or importers, listed for one file."""
_PYTHON = (".py", ".pyi")


class Findings(BaseModel):
    """What lies between a branch and a commit that is to be merged into it."""

    base_commit: str | None
    """Where the two parted, by git's word; None when they have nothing in common."""
    head_commit: str
    files: list[FileImpact]
    diff: str
    diff_truncated: bool
    notes: list[str]
    """In sentences what was not looked at."""
    reach: Reach | None = None
    """None in what was found before there was such an analysis."""


async def look_at_change(
    reader: CommitReader, repository: Path, *, target: str | None, head: str
) -> Findings:
    """Find out what merging a commit would change.

    The base is not taken from whoever made the change: what is merged is all that the target
    lacks, also what was committed below the commit that the maker calls its base.

    Args:
        reader: Reads the commit that the change leads to.
        repository: Where the commits are.
        target: The commit at the tip of the target branch; None when there is no such branch.
        head: The commit that is to be merged.

    Raises:
        GitError: Git failed.
    """
    git = reader.git
    base = await common_ancestor(git, repository, target, head) if target else None
    changes = await changed_files(git, repository, base, head)
    names, notes = await _compare_names(git, repository, changes, base=base, head=head)
    if base is None:
        notes.append("It has no commit in common with its target branch: all its files are listed.")
    # What was deleted or renamed may still be imported.
    gone = [path for change in changes for path in (change.old_path, change.path) if path]
    found = await reader.read(repository, head, also=gone)
    impacts = [_impact(change, names.get(change.path), found, notes) for change in changes]
    text = await diff(git, repository, base, head, max_bytes=MAX_DIFF_CHARACTERS)
    return Findings(
        base_commit=base,
        head_commit=head,
        files=impacts,
        diff=text.text,
        diff_truncated=text.is_truncated,
        notes=[*notes, *found.notes],
        reach=await asyncio.to_thread(_reach, found, impacts),
    )


def _reach(found: CommitMap, impacts: Sequence[FileImpact]) -> Reach:
    broken = [
        f"{impact.path}: {name}"
        for impact in impacts
        for name in (*impact.public_names_removed, *impact.public_names_changed)
    ]
    return reach_of(found, [impact.path for impact in impacts], broken=broken)


async def _compare_names(
    git: Git, repository: Path, changes: Sequence[FileChange], *, base: str | None, head: str
) -> tuple[dict[str, NameChanges], list[str]]:
    python = [change for change in changes if change.path.endswith(_PYTHON)]
    compared: dict[str, NameChanges] = {}
    deadline = time.monotonic() + _MAX_COMPARE_SECONDS
    for change in python[:_MAX_COMPARED_FILES]:
        if time.monotonic() > deadline:
            break
        before = await _source(git, repository, base, change.old_path or change.path)
        after = await _source(git, repository, head, change.path)
        compared[change.path] = await asyncio.to_thread(_compare, before, after)
    if len(compared) == len(python):
        return compared, []
    return compared, [
        f"Public names were compared in {len(compared)} of {len(python)} changed Python files."
    ]


def _compare(before: str | None, after: str | None) -> NameChanges:
    try:
        return compare_public_names(before, after)
    except RecursionError:
        # Text that is nested a thousand levels deep was made by a machine: no names to compare.
        return NameChanges()


async def _source(git: Git, repository: Path, commit: str | None, path: str) -> str | None:
    if commit is None:
        return None
    try:
        content = await read_file(git, repository, commit, path, max_bytes=_MAX_SOURCE_BYTES)
    except FileNotInCommit:
        return None
    return content.decode("utf-8", "replace")


def _impact(
    change: FileChange, names: NameChanges | None, found: CommitMap, notes: list[str]
) -> FileImpact:
    importers = {
        importer
        for path in (change.path, change.old_path)
        if path
        for importer in found.graph.importers.get(path, ())
    }
    names = names or NameChanges()
    return FileImpact(
        path=change.path,
        old_path=change.old_path,
        kind=ChangeKind(change.kind.value),
        added_lines=change.added_lines,
        removed_lines=change.removed_lines,
        is_binary=change.is_binary,
        public_names_added=_bounded(names.added, change.path, notes),
        public_names_removed=_bounded(names.removed, change.path, notes),
        public_names_changed=_bounded(names.changed, change.path, notes),
        imported_by=_bounded(sorted(importers - {change.path}), change.path, notes),
    )


def _bounded(items: Iterable[str], path: str, notes: list[str]) -> list[str]:
    listed = list(items)
    if len(listed) <= _MAX_LISTED:
        return listed
    note = f"Of {path}, only the first {_MAX_LISTED} names or importers are listed."
    if note not in notes and len(notes) < 15:
        notes.append(note)
    return listed[:_MAX_LISTED]

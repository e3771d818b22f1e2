"""What lies between two commits, and what a commit holds."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agentvine.git.errors import FileNotInCommit
from agentvine.git.names import check_commit_id
from agentvine.git.places import Place, clean_room, locate
from agentvine.git.runner import Git, failed, text

_MAX_DIFF_BYTES = 2 * 1024 * 1024
_MAX_FILE_BYTES = 16 * 1024 * 1024


class ChangeKind(StrEnum):
    """What happened to a file."""

    ADDED = "added"
    MODIFIED = "modified"
    DELETED = "deleted"
    RENAMED = "renamed"
    COPIED = "copied"
    TYPE_CHANGED = "type_changed"


_KINDS = {
    "A": ChangeKind.ADDED,
    "M": ChangeKind.MODIFIED,
    "D": ChangeKind.DELETED,
    "R": ChangeKind.RENAMED,
    "C": ChangeKind.COPIED,
    "T": ChangeKind.TYPE_CHANGED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file that differs between two commits."""

    path: str
    kind: ChangeKind
    old_path: str | None = None
    """Where it was, or what it was copied from."""
    added_lines: int = 0
    removed_lines: int = 0
    is_binary: bool = False


@dataclass(frozen=True, slots=True)
class Diff:
    """A unified diff."""

    text: str
    is_truncated: bool
    """Whether it was cut, at the end of a line, because it is too long."""


async def diff(
    git: Git, repository: Path, base: str | None, head: str, *, max_bytes: int = _MAX_DIFF_BYTES
) -> Diff:
    """What has changed from one commit to another, as text; from nothing when base is None.

    Binary files are named without their contents. Text that is not UTF-8 shows U+FFFD.
    """
    with clean_room(locate(repository)) as room:
        args = (*_DIFF_TREE, "-p", "--full-index", *await _ends(git, room, base, head))
        result = await git.capture(room, *args, max_output_bytes=max_bytes)
    if result.exit_code != 0 and not result.is_truncated:
        raise failed(args, result)
    output = result.stdout
    if result.is_truncated:
        output = output[: output.rfind(b"\n") + 1]
    return Diff(output.decode("utf-8", "replace").replace("\0", "\ufffd"), result.is_truncated)


async def changed_files(
    git: Git, repository: Path, base: str | None, head: str
) -> list[FileChange]:
    """The files that differ between two commits, in the order of their names."""
    with clean_room(locate(repository)) as room:
        ends = await _ends(git, room, base, head)
        output = await git.run(room, *_DIFF_TREE, "--raw", "--numstat", "-z", *ends)
    return _parse_changes(output)


async def read_file(
    git: Git, repository: Path, commit: str, path: str, *, max_bytes: int = _MAX_FILE_BYTES
) -> bytes:
    """A file's contents at a commit: at most ``max_bytes``; a link's target when it is a link.

    Raises:
        FileNotInCommit: There is no such file; folders and submodules are no files.
    """
    missing = FileNotInCommit(f"{commit} has no file {path}.", commit=commit, path=path)
    if "\0" in path or not path:
        raise missing
    with clean_room(locate(repository)) as room:
        args = ("ls-tree", "-z", "--full-tree", check_commit_id(commit), "--", path)
        listed = await git.capture(room, *args)
        if listed.exit_code != 0 and b"outside repository" not in listed.stderr:
            raise failed(args, listed)
        for entry in listed.stdout.split(b"\0"):
            description, _, name = entry.partition(b"\t")
            if name == path.encode("utf-8", "surrogateescape"):
                _, kind, blob = text(description).split(" ")
                if kind == "blob":
                    args = ("cat-file", "blob", blob)
                    result = await git.capture(room, *args, max_output_bytes=max_bytes)
                    if result.exit_code != 0 and not result.is_truncated:
                        raise failed(args, result)
                    return result.stdout
    raise missing


_DIFF_TREE = ("diff-tree", "-r", "-M", "-C", "--no-ext-diff", "--no-textconv", "--no-color")


async def _ends(git: Git, room: Place, base: str | None, head: str) -> tuple[str, str]:
    if base is not None:
        return check_commit_id(base), check_commit_id(head)
    empty = text(await git.run(room, "hash-object", "-w", "-t", "tree", "--stdin"))
    return empty, check_commit_id(head)


def _parse_changes(output: bytes) -> list[FileChange]:
    # First all files as ":modes ids status NUL path NUL [path NUL]", then, in the same order,
    # "added TAB removed TAB path NUL", where renames have an empty path and then both.
    fields = iter(output.split(b"\0"))
    raw: list[tuple[ChangeKind, str | None, str]] = []
    changes: list[FileChange] = []
    for field in fields:
        if field.startswith(b":"):
            kind = _KINDS.get(field.rsplit(b" ", 1)[1][:1].decode(), ChangeKind.MODIFIED)
            old = _name(next(fields)) if _has_two_names(kind) else None
            raw.append((kind, old, _name(next(fields))))
        elif field:
            kind, old, path = raw[len(changes)]
            added, removed, _ = field.split(b"\t", 2)
            if _has_two_names(kind):
                _skip(fields, 2)
            is_binary = added == b"-"
            changes.append(
                FileChange(
                    path=path,
                    kind=kind,
                    old_path=old,
                    added_lines=0 if is_binary else int(added),
                    removed_lines=0 if is_binary else int(removed),
                    is_binary=is_binary,
                )
            )
    return changes


def _has_two_names(kind: ChangeKind) -> bool:
    return kind in {ChangeKind.RENAMED, ChangeKind.COPIED}


def _skip(fields: Iterator[bytes], count: int) -> None:
    for _ in range(count):
        next(fields)


def _name(field: bytes) -> str:
    return field.decode("utf-8", "backslashreplace")

"""Given changes of files as a commit, made in the object store alone: no work tree, all or nothing.

What comes in was not written by us. It may only touch plain files, each where it says it does:
no link is followed, made or changed, no submodule, nothing named ``.git``.
"""

import re
import tempfile
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agentvine.git.commits import Author, write_commit
from agentvine.git.errors import EditRefused
from agentvine.git.names import check_commit_id
from agentvine.git.places import Place, clean_room, locate
from agentvine.git.runner import Git, text
from agentvine.kit.inner_paths import why_not_inside

_FILE_MODES = {"100644", "100755"}
_FILE = "100644"
_SHOWN = 500
_LINE = re.compile(rb"(?m)^error: (.*)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEdit:
    """What becomes of one file; neither content nor patch: it is removed."""

    path: str
    content: bytes | None = None
    """All of it."""
    patch: bytes | None = None
    """A unified diff of this one file."""
    must_be_new: bool = False
    """Whether there must be no such file, or else one."""


async def commit_edits(
    git: Git,
    repository: Path,
    base: str,
    edits: Sequence[FileEdit],
    message: str,
    *,
    author: Author | None = None,
) -> str:
    """A commit on top of another one with all of the edits; no branch is moved.

    Raises:
        EditRefused: An edit does not fit what is there, or reaches for more than its file.
    """
    with (
        tempfile.TemporaryDirectory(prefix="agentvine-index-") as folder,
        clean_room(locate(repository), index=Path(folder) / "index") as room,
    ):
        before = await _files_of(git, room, check_commit_id(base))
        files = before.keys() | {edit.path for edit in edits}
        for edit in edits:
            _check(edit, before, files)
        await git.run(room, "read-tree", base)
        whole = [edit for edit in edits if edit.patch is None]
        await _store(git, room, whole, before, id_length=len(base))
        for edit in edits:
            if edit.patch is not None:
                await _patch(git, room, edit.path, edit.patch)
        tree = text(await git.run(room, "write-tree"))
        await _check_result(git, room, base, tree, {edit.path for edit in edits})
        return await write_commit(git, room, tree, parents=[base], message=message, author=author)


async def _files_of(git: Git, room: Place, commit: str) -> dict[str, str]:
    """The modes of all that is in a commit, by path."""
    listed = await git.run(room, "ls-tree", "-r", "-z", "--full-tree", commit)
    found: dict[str, str] = {}
    for entry in listed.split(b"\0"):
        facts, _, name = entry.partition(b"\t")
        if name:
            found[name.decode("utf-8", "surrogateescape")] = text(facts).split(" ", 1)[0]
    return found


def _check(edit: FileEdit, before: dict[str, str], files: AbstractSet[str]) -> None:
    path = PurePosixPath(edit.path)
    if (why := why_not_inside(edit.path)) is not None:
        raise EditRefused(f"{edit.path} {why}.", files=[edit.path])
    for parent in map(str, path.parents):
        if parent in files:
            raise EditRefused(f"{parent} is no folder, but holds {path}.", files=[edit.path])
    mode = before.get(edit.path)
    if edit.must_be_new:
        is_folder = any(name.startswith(f"{edit.path}/") for name in before)
        if mode is not None or is_folder:
            raise EditRefused(f"{edit.path} is there already.", files=[edit.path])
    elif mode is None:
        raise EditRefused(f"There is no file {edit.path}.", files=[edit.path])
    elif mode not in _FILE_MODES:
        raise EditRefused(f"{edit.path} is a link or a submodule.", files=[edit.path])


async def _store(
    git: Git, room: Place, edits: Sequence[FileEdit], before: dict[str, str], *, id_length: int
) -> None:
    lines: list[bytes] = []
    for edit in edits:
        name = edit.path.encode("utf-8", "surrogateescape")
        if edit.content is None:
            lines.append(b"0 " + b"0" * id_length + b"\t" + name)
            continue
        blob = text(await git.run(room, "hash-object", "-w", "--stdin", stdin=edit.content))
        lines.append(f"{before.get(edit.path, _FILE)} {blob}\t".encode() + name)
    if lines:
        stdin = b"".join(line + b"\0" for line in lines)
        await git.run(room, "update-index", "-z", "--index-info", stdin=stdin)


async def _patch(git: Git, room: Place, path: str, patch: bytes) -> None:
    body = patch if patch.endswith(b"\n") else patch + b"\n"
    result = await git.capture(room, "apply", "--cached", "--whitespace=nowarn", "-", stdin=body)
    if result.exit_code != 0:
        lines = _LINE.findall(result.stderr) or [result.stderr.strip()]
        said = b"; ".join(lines).decode("utf-8", "replace")[:_SHOWN]
        raise EditRefused(f"The patch of {path} does not apply: {said}.", files=[path])


async def _check_result(git: Git, room: Place, base: str, tree: str, allowed: set[str]) -> None:
    """See that patches, too, have changed what they said, and left plain files."""
    output = await git.run(room, "diff-tree", "-r", "--no-renames", "-z", base, tree)
    fields = output.split(b"\0")
    changed = list(zip(fields[0::2], fields[1::2], strict=False))
    if not changed:
        raise EditRefused("They change nothing.", files=sorted(allowed))
    for facts, name in changed:
        path = name.decode("utf-8", "surrogateescape")
        old, new = text(facts).lstrip(":").split(" ")[:2]
        if path not in allowed:
            raise EditRefused(f"A patch reaches for {path} as well.", files=[path])
        if not {old, new} <= _FILE_MODES | {"000000"}:
            raise EditRefused(f"A patch makes {path} something else than a file.", files=[path])

"""What a commit names, but does not hold: submodules, and files that are kept by git-lfs.

Of both, a work tree has only the place: an empty folder, and a pointer, a text of three lines.
Neither is fetched: that would ask an address that the repository names, or run a filter. So a
repository with such contents is worked on only with its owner's permission, and a change may not
touch them.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from agentvine.git.errors import (
    ExternalContentChanged,
    GitError,
    LargeFilesRefused,
    SubmodulesRefused,
)
from agentvine.git.names import check_commit_id
from agentvine.git.places import Place, clean_room, locate
from agentvine.git.runner import Git
from agentvine.protocol.runs import LargeFiles, Submodules, WorkspacePolicy

LINK_MODE = b"160000"
_POINTER = re.compile(rb"version https://(git-lfs|hawser)\.github\.com/spec/v1\n")
_MAX_POINTER_BYTES = 1024
_PATH = re.compile(rb'(?m)^[ \t]*path[ \t]*=[ \t]*"?(.*?)"?[ \t\r]*$')
_SHOWN = 5
# In a listing of 'ls-tree -z': one look over the bytes costs a hundredth of taking them apart.
_LINK = re.compile(rb"\x00160000 commit [0-9a-f]+\t([^\0]+)")
_FILE = re.compile(rb"\x00(?P<mode>100[0-9]{3}) blob (?P<id>[0-9a-f]+)\t(?P<path>[^\0]+)")
_ATTRIBUTES = re.compile(rb"\x00100[0-9]{3} blob ([0-9a-f]+)\t(?:[^\0]*/)?\.gitattributes(?=\0)")


@dataclass(frozen=True, slots=True)
class External:
    """The paths of what a commit names but does not hold."""

    submodules: tuple[str, ...] = ()
    large_files: tuple[str, ...] = ()
    """Those kept by git-lfs."""


def refusals(found: External, policy: WorkspacePolicy) -> list[GitError]:
    """Why nothing is run on a commit; empty when the repository allows what was found in it."""
    errors: list[GitError] = []
    if found.submodules and policy.submodules is Submodules.REFUSE:
        errors.append(
            SubmodulesRefused(
                f"It has submodules ({named(found.submodules)}). They are not fetched: if the "
                "work can do without them, allow empty folders in their places with `agentvine "
                "repo edit NAME --submodules empty`.",
                submodules=list(found.submodules[:_SHOWN]),
            )
        )
    if found.large_files and policy.large_files is LargeFiles.REFUSE:
        errors.append(
            LargeFilesRefused(
                f"It has files kept by git-lfs ({named(found.large_files)}). They are not "
                "fetched: if the work can do without them, allow pointers in their places with "
                "`agentvine repo edit NAME --large-files pointers`.",
                files=list(found.large_files[:_SHOWN]),
            )
        )
    return errors


def notes(found: External, policy: WorkspacePolicy) -> list[str]:
    """What a run will lack that the repository allows to be lacking, in sentences."""
    told: list[str] = []
    if found.submodules and policy.submodules is Submodules.EMPTY:
        told.append(f"Submodules are empty folders: {named(found.submodules)}.")
    if found.large_files and policy.large_files is LargeFiles.POINTERS:
        told.append(f"Files kept by git-lfs are pointers: {named(found.large_files)}.")
    return told


async def find_external(git: Git, repository: Path, commit: str) -> External:
    """Look what a commit names but does not hold.

    Raises:
        GitFailed: The repository lacks the commit, or is damaged.
    """
    with clean_room(locate(repository)) as room:
        listing = await _list(git, room, commit)
        pointers = await _pointers(git, room, commit, listing)
    return External(_shown(_LINK.findall(listing)), _shown(entry.path for entry in pointers))


async def require_external_kept(git: Git, repository: Path, base: str, head: str) -> None:
    """See that a change leaves alone what the repository does not hold.

    A submodule may be removed together with its entry in ``.gitmodules``; one that is added or
    moved may name a commit that is nowhere else. A large file may be removed or renamed; what is
    written in its place would be stored in the repository itself, or be a pointer to nothing.

    Raises:
        ExternalContentChanged: It does not.
    """
    with clean_room(locate(repository)) as room:
        changes = await _changes(git, room, base, head)
        links = await _changed_links(git, room, head, changes)
        files = await _changed_large_files(git, room, base, head, changes)
    told: list[str] = []
    if links:
        told.append(
            f"The change touches the submodules {named(links)}, whose contents are not part of "
            "this repository. Change them in their own repositories, and leave their folders here "
            "as they are; to remove one, remove its entry in .gitmodules, too."
        )
    if files:
        told.append(
            f"The change writes {named(files)}, which .gitattributes gives to git-lfs. Their "
            "contents would not reach the LFS server: commit them by hand, where git-lfs is "
            "installed."
        )
    if told:
        raise ExternalContentChanged(" ".join(told), files=[*links, *files])


def declared_submodules(gitmodules: bytes) -> set[bytes]:
    """The paths that the text of a ``.gitmodules`` names."""
    return set(_PATH.findall(gitmodules))


def named(paths: Collection[str]) -> str:
    """Some of the paths, for people."""
    more = len(paths) - _SHOWN
    return ", ".join(list(paths)[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: bytes
    id: str
    path: bytes


@dataclass(frozen=True, slots=True)
class _Change:
    """What has become of one path; a mode of zeros means that it was, or is, not there."""

    old: _Entry
    new: _Entry


async def _list(git: Git, room: Place, commit: str) -> bytes:
    """All entries: each "mode type id TAB path", with a NUL before the first and after each."""
    listed = await git.run(room, "ls-tree", "-r", "-z", "--full-tree", check_commit_id(commit))
    return b"\0" + listed


def _files(listing: bytes) -> list[_Entry]:
    found = _FILE.finditer(listing)
    return [_Entry(match["mode"], match["id"].decode(), match["path"]) for match in found]


async def _pointers(git: Git, room: Place, commit: str, listing: bytes) -> list[_Entry]:
    if not await _has_large_files(git, room, listing):
        return []
    filtered = await _filtered(git, room, commit, _files(listing))
    ids = await _pointer_ids(git, room, filtered)
    return [entry for entry in filtered if entry.id in ids]


async def _filtered(git: Git, room: Place, commit: str, among: Iterable[_Entry]) -> list[_Entry]:
    """Those among some files of a commit that its attributes give to git-lfs."""
    looked_at = {entry.path: entry for entry in among if entry.mode.startswith(b"100")}
    index = replace(room, index=room.git_dir / "index")
    await git.run(index, "read-tree", commit)
    names = b"".join(path + b"\0" for path in looked_at)
    output = await git.run(index, "check-attr", "--cached", "-z", "--stdin", "filter", stdin=names)
    fields = output.split(b"\0")
    given = zip(fields[::3], fields[2::3], strict=False)
    return [looked_at[path] for path, value in given if value == b"lfs"]


async def _has_large_files(git: Git, room: Place, listing: bytes) -> bool:
    """Whether any attributes give files to git-lfs: most repositories are done with here."""
    ids = (name.decode() for name in _ATTRIBUTES.findall(listing))
    return any(b"filter=lfs" in text for text in (await _read(git, room, ids)).values())


async def _pointer_ids(git: Git, room: Place, entries: Collection[_Entry]) -> set[str]:
    ids = "".join(f"{entry.id}\n" for entry in entries).encode()
    sizes = await git.run(room, "cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=ids)
    facts = (line.split(" ") for line in sizes.decode().splitlines())
    small = [name for name, size in facts if int(size) < _MAX_POINTER_BYTES]
    return {name for name, text in (await _read(git, room, small)).items() if _POINTER.match(text)}


async def _read(git: Git, room: Place, ids: Iterable[str]) -> dict[str, bytes]:
    wanted = list(dict.fromkeys(ids))
    if not wanted:
        return {}
    stdin = "".join(f"{name}\n" for name in wanted).encode()
    output = await git.run(room, "cat-file", "--batch", stdin=stdin)
    texts: dict[str, bytes] = {}
    position = 0
    for name in wanted:
        # "<id> blob <size> LF <contents> LF", one after the other.
        end = output.index(b"\n", position)
        size = int(output[position:end].rsplit(b" ", 1)[1])
        texts[name] = output[end + 1 : end + 1 + size]
        position = end + size + 2
    return texts


async def _changes(git: Git, room: Place, base: str, head: str) -> list[_Change]:
    ends = (check_commit_id(base), check_commit_id(head))
    output = await git.run(room, "diff-tree", "-r", "-z", "--raw", "--no-renames", *ends)
    fields = output.split(b"\0")
    changes: list[_Change] = []
    for facts, path in zip(fields[::2], fields[1::2], strict=False):
        old_mode, new_mode, old, new, _ = facts.removeprefix(b":").split(b" ")
        changes.append(
            _Change(_Entry(old_mode, old.decode(), path), _Entry(new_mode, new.decode(), path))
        )
    return changes


async def _changed_links(
    git: Git, room: Place, head: str, changes: Iterable[_Change]
) -> tuple[str, ...]:
    touched = [each for each in changes if LINK_MODE in {each.old.mode, each.new.mode}]
    if not touched:
        return ()
    shown = await git.capture(room, "cat-file", "blob", f"{head}:.gitmodules")
    declared = declared_submodules(shown.stdout)
    return _shown(
        each.new.path for each in touched if each.new.mode == LINK_MODE or each.new.path in declared
    )


async def _changed_large_files(
    git: Git, room: Place, base: str, head: str, changes: Collection[_Change]
) -> tuple[str, ...]:
    if not changes:
        return ()
    if not await _has_large_files(git, room, await _list(git, room, head)):
        return ()
    filtered = await _filtered(git, room, head, [each.new for each in changes])
    before = await _list(git, room, base)
    known = {entry.id for entry in await _pointers(git, room, base, before)}
    pointers = await _pointer_ids(git, room, filtered)
    # A file that was stored here itself, whatever the attributes say, may go on so.
    stored = {
        each.new.path
        for each in changes
        if each.old.mode.startswith(b"100") and each.old.id not in known
    }
    return _shown(
        entry.path
        for entry in filtered
        if entry.id not in known and (entry.id in pointers or entry.path not in stored)
    )


def _shown(paths: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(path.decode("utf-8", "backslashreplace") for path in paths)

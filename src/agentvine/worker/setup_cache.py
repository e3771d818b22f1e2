"""What set-up commands have made, kept on the worker's disk to be copied into the next work tree.

    cache/<repository id>/<key>/index.json    what is there, and where it was made
    cache/<repository id>/<key>/files/<n>     a copy of the n-th path

An entry belongs to one repository, and is written once, after set-up and before anything else of
its run. It is copied in and out, never linked, so that no run changes what the next one gets. Files
in which the work tree's path stands (a virtual environment is full of them) are mended on the way.
"""

import fcntl
import hashlib
import json
import os
import platform
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from agentvine.git.worktrees import remove_folder
from agentvine.protocol.queue import OrderPayload
from agentvine.worker.disk import read_json, tree_size

_FICLONE = 0x40049409
"""Linux's request for a copy that shares its blocks until one of the two is written."""
_MAX_MENDED_BYTES = 64 * 1024 * 1024

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CacheEntry:
    """What one set-up has made."""

    path: Path
    size_bytes: int
    used_at: float
    """When it was last made or copied, as the file system tells time."""

    @property
    def repository(self) -> str:
        """The id of the repository it belongs to."""
        return self.path.parent.name


def setup_key(payload: OrderPayload, worktree: Path, target_branch: str) -> str:
    """What a set-up's result depends on, as one word; for a work tree that is still untouched.

    The branch is part of it, so that a branch that somebody else pushes to makes its own.
    """
    policy = payload.workspace
    known = {
        "command": policy.setup_command,
        "paths": sorted(policy.cached_paths),
        "files": {name: _digest(worktree, name) for name in sorted(policy.cache_key_files)},
        "branch": target_branch,
        "sandbox": payload.sandbox.model_dump(mode="json") if payload.sandbox else None,
        "machine": [sys.platform, platform.machine()],
    }
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


class SetupCache:
    """The entries of all repositories; several workers may share them."""

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        """Keep at most so much, the entries that were used last."""
        self._root = root
        self._max_bytes = max_bytes

    def restore(self, repository: str, key: str, worktree: Path) -> bool:
        """Copy an entry into a fresh work tree; False, and nothing is there, when it cannot be."""
        entry = self._root / repository / key
        index = read_json(entry / "index.json")
        if not index:
            return False
        moved = list(zip(index["made_in"], _spellings(worktree), strict=True))
        if any(len(old) != len(new) for old, new in moved):
            return False
        made: list[Path] = []
        try:
            for number, name in enumerate(index["paths"]):
                target = _inside(worktree, name)
                if target is None or os.path.lexists(target):
                    raise FileExistsError(f"{name} cannot be put there")
                target.parent.mkdir(parents=True, exist_ok=True)
                made.append(target)
                _copy(entry / "files" / str(number), target)
                for file in index["mended"][number]:
                    _mend(target / file if file else target, moved)
            os.utime(entry / "index.json")
        except OSError as error:
            # Another worker has just dropped it, or the repository has such a file by now.
            log.warning("setup.not_restored", entry=str(entry), problem=str(error))
            for target in made:
                remove(target)
            return False
        return True

    def store(self, repository: str, key: str, worktree: Path, paths: Iterable[str]) -> bool:
        """Keep what a set-up has made; False when there was no room, or nothing to keep."""
        found = {
            name: path for name in paths if (path := _inside(worktree, name)) and _is_there(path)
        }
        size = sum(map(tree_size, found.values()))
        if not found or size > self._max_bytes:
            return False
        entry = self._root / repository / key
        draft = entry.with_name(f"{key}.{secrets.token_hex(6)}.new")
        try:
            (draft / "files").mkdir(parents=True, mode=0o700)
            spellings = _spellings(worktree)
            mended: list[list[str]] = []
            for number, path in enumerate(found.values()):
                copy = draft / "files" / str(number)
                _copy(path, copy)
                mended.append(list(_naming(copy, spellings)))
            index = {
                "paths": list(found),
                "mended": mended,
                "made_in": spellings,
                "size_bytes": size,
            }
            (draft / "index.json").write_text(json.dumps(index))
            if entry.exists():
                return True  # another worker was quicker
            draft.rename(entry)
        except OSError as error:
            log.warning("setup.not_kept", entry=str(entry), problem=str(error))
            return False
        finally:
            remove(draft)
        self._make_room()
        return True

    def entries(self) -> list[CacheEntry]:
        """All that is there, those used last first."""
        found: list[CacheEntry] = []
        for index in self._root.glob("*/*/index.json"):
            facts = read_json(index)
            with suppress(OSError, KeyError):
                used_at = index.stat().st_mtime
                found.append(CacheEntry(index.parent, int(facts["size_bytes"]), used_at))
        return sorted(found, key=lambda entry: entry.used_at, reverse=True)

    def _make_room(self) -> None:
        total = 0
        for entry in self.entries():
            total += entry.size_bytes
            if total > self._max_bytes:
                with suppress(OSError):
                    # In one move: who copies from it just now notices.
                    gone = entry.path.with_name(f"{entry.path.name}.{secrets.token_hex(6)}.new")
                    remove(entry.path.rename(gone))


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        remove_folder(path)
    else:
        path.unlink(missing_ok=True)


def _digest(worktree: Path, name: str) -> str | None:
    path = _inside(worktree, name)
    if path is None or not path.is_file() or path.is_symlink():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inside(worktree: Path, name: str) -> Path | None:
    """The place of a relative path, unless links lead out of the work tree on the way to it."""
    path = worktree / name
    parents = list(path.relative_to(worktree).parents)[:-1]
    if any((worktree / parent).is_symlink() for parent in parents):
        return None
    return path


def _is_there(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISREG(mode)


def _spellings(worktree: Path) -> list[str]:
    # Programs see the folder they were started in, and the one that it really is.
    return [str(worktree), str(worktree.resolve())]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, copy_function=_clone, ignore=_special)
    else:
        _clone(str(source), str(target))


def _special(folder: str, names: list[str]) -> list[str]:
    # Sockets and pipes that a set-up has left: nobody is at their other end.
    kept = (stat.S_ISDIR, stat.S_ISREG, stat.S_ISLNK)
    modes = {name: (Path(folder) / name).lstat().st_mode for name in names}
    return [name for name, mode in modes.items() if not any(is_kept(mode) for is_kept in kept)]


def _clone(source: str, target: str) -> str:
    with open(source, "rb") as one, open(target, "xb") as other:  # noqa: PTH123 - as shutil does
        try:
            fcntl.ioctl(other.fileno(), _FICLONE, one.fileno())
        except OSError:
            shutil.copyfileobj(one, other, 1024 * 1024)
    shutil.copystat(source, target, follow_symlinks=False)
    return target


def _naming(top: Path, spellings: list[str]) -> Iterator[str]:
    """The files and links in which the work tree's path stands, relative to the top."""
    needles = [text.encode("utf-8", "surrogateescape") for text in spellings]
    for path in _files(top):
        if path.is_symlink():
            content = os.fsencode(path.readlink())
        elif path.stat().st_size > _MAX_MENDED_BYTES:
            continue
        else:
            content = path.read_bytes()
        if any(needle in content for needle in needles):
            yield "" if path == top else str(path.relative_to(top))


def _files(top: Path) -> Iterator[Path]:
    if not top.is_dir():
        yield top
        return
    for folder, folders, files in os.walk(top):
        links = (name for name in folders if (Path(folder) / name).is_symlink())
        yield from (Path(folder) / name for name in (*files, *links))


def _mend(path: Path, moved: list[tuple[str, str]]) -> None:
    """Write the new work tree's path where the old one stands: both are of the same length."""
    content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    for old, new in moved:
        content = content.replace(
            old.encode("utf-8", "surrogateescape"), new.encode("utf-8", "surrogateescape")
        )
    if path.is_symlink():
        path.unlink()
        path.symlink_to(os.fsdecode(content))
        return
    before = path.stat()
    path.chmod(before.st_mode | stat.S_IWUSR)
    path.write_bytes(content)
    path.chmod(before.st_mode)
    # Compiled Python is good for a source of just this time.
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

"""A work tree's files, for an agent that lives in the worker's own process.

It may read and write with the worker's rights, so nothing may lead it out of the tree: paths are
walked one folder after another from the tree's root, and no link is followed, whatever a program of
the run puts in its place meanwhile.
"""

import fnmatch
import os
import re
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from agentvine.kit.errors import Invalid

MAX_FILE_BYTES = 2 * 1024 * 1024
_MAX_SEEN = 50_000
_MAX_LISTED = 500
_MAX_HITS = 200
_MAX_HIT_CHARACTERS = 300
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SKIPPED = {".git", "node_modules", ".venv", "__pycache__", ".mypy_cache", ".ruff_cache"}


class ToolRefused(Invalid):
    """The agent's tool cannot do this."""

    code = "tool_refused"


@dataclass(frozen=True, slots=True)
class Tree:
    """The files below a folder."""

    root: Path

    def read(self, name: str) -> str:
        """A file's text.

        Raises:
            ToolRefused: There is no such file in the tree, or it is no text.
        """
        with self._opened(name) as (folder, last), _explained(name):
            descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ToolRefused(f"{name} is no file.")
                content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ToolRefused(f"{name} is larger than {MAX_FILE_BYTES >> 20} MiB.")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise ToolRefused(f"{name} is no text.") from None

    def write(self, name: str, text: str) -> None:
        """Give a file this text, making it and its folders where they are missing.

        Raises:
            ToolRefused: It would lie outside of the tree, or in git's own folder.
        """
        if PurePosixPath(os.path.normpath(name)).parts[:1] == (".git",):
            raise ToolRefused(".git is not written to: commits are made for you.")
        if len(text.encode()) > MAX_FILE_BYTES:
            raise ToolRefused(f"The text is larger than {MAX_FILE_BYTES >> 20} MiB.")
        with self._opened(name, makes=True) as (folder, last), _explained(name):
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(last, flags, 0o666, dir_fd=folder)
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise ToolRefused(f"{name} is no file.")
                # Only now: what is no file must not lose anything.
                file.truncate(0)
                file.write(text)

    def replace(self, name: str, old: str, new: str, *, everywhere: bool) -> int:
        """Put one text in another's place; how often.

        Raises:
            ToolRefused: The old text is not there, or several times and not all are meant.
        """
        text = self.read(name)
        count = text.count(old) if old else 0
        if count == 0:
            raise ToolRefused(f"{name} does not hold the old text; read it again.")
        if count > 1 and not everywhere:
            raise ToolRefused(
                f"{name} holds the old text {count} times: give more of what is around."
            )
        self.write(name, text.replace(old, new))
        return count

    def list_files(self, name: str, pattern: str | None) -> list[str]:
        """The files below a folder, as paths from the root, sorted; those that fit a pattern.

        Raises:
            ToolRefused: There is no such folder in the tree.
        """
        found: list[str] = []
        for path in self._walk(name):
            if pattern is None or fnmatch.fnmatch(path, pattern) or _name_fits(path, pattern):
                found.append(path)
                if len(found) == _MAX_LISTED:
                    return [*found, f"(the first {_MAX_LISTED}; narrow it down)"]
        return found

    def search(self, expression: str, name: str, pattern: str | None) -> list[str]:
        """Lines in which a regular expression is found, as ``path:number: line``.

        Raises:
            ToolRefused: The expression is none, or there is no such folder in the tree.
        """
        try:
            wanted = re.compile(expression)
        except re.error as error:
            raise ToolRefused(f"{expression!r} is no regular expression: {error}") from error
        hits: list[str] = []
        for path in self._walk(name):
            if pattern is not None and not _name_fits(path, pattern):
                continue
            for number, line in self._lines(path):
                if wanted.search(line):
                    hits.append(f"{path}:{number}: {line[:_MAX_HIT_CHARACTERS]}")
                    if len(hits) == _MAX_HITS:
                        return [*hits, f"(the first {_MAX_HITS}; narrow it down)"]
        return hits

    def _lines(self, path: str) -> Iterator[tuple[int, str]]:
        try:
            text = self.read(path)
        except ToolRefused:
            return
        # A line of a minified file is no line to be searched: expressions may take very long there.
        yield from ((n, line[:2000]) for n, line in enumerate(text.splitlines(), start=1))

    def _walk(self, name: str) -> Iterator[str]:
        """Paths of files, sorted, without following links or looking into what is not sources."""
        parts = self._parts(name)
        waiting, seen = [PurePosixPath(*parts)], 0
        while waiting:
            folder = waiting.pop()
            with self._folder(folder.parts) as descriptor:
                with os.scandir(descriptor) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
                folders = [e.name for e in entries if e.is_dir(follow_symlinks=False)]
                files = [e.name for e in entries if e.is_file(follow_symlinks=False)]
            waiting += [folder / each for each in reversed(folders) if each not in _SKIPPED]
            for each in files:
                seen += 1
                if seen > _MAX_SEEN:
                    return
                yield str(folder / each)

    def _parts(self, name: str) -> tuple[str, ...]:
        path = PurePosixPath(name)
        if path.is_absolute():
            # Agents like absolute paths; those of the tree are as good as any.
            if not path.is_relative_to(PurePosixPath(self.root)):
                raise ToolRefused(f"{name} is outside of the work tree.")
            path = path.relative_to(PurePosixPath(self.root))
        normal = PurePosixPath(os.path.normpath(path))
        if ".." in normal.parts or "\0" in name:
            raise ToolRefused(f"{name} is outside of the work tree.")
        return normal.parts

    @contextmanager
    def _opened(self, name: str, *, makes: bool = False) -> Generator[tuple[int, str]]:
        parts = self._parts(name)
        if not parts:
            raise ToolRefused(f"{name!r} is no file.")
        with self._folder(parts[:-1], makes=makes) as folder:
            yield folder, parts[-1]

    @contextmanager
    def _folder(self, parts: tuple[str, ...], *, makes: bool = False) -> Generator[int]:
        descriptor = os.open(self.root, _FOLDER)
        try:
            for index, part in enumerate(parts):
                with _explained("/".join(parts[: index + 1])):
                    if makes:
                        _make(part, descriptor)
                    inner = os.open(part, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
            yield descriptor
        finally:
            os.close(descriptor)


def _make(name: str, parent: int) -> None:
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        return


def _name_fits(path: str, pattern: str) -> bool:
    return fnmatch.fnmatch(PurePosixPath(path).name, pattern)


@contextmanager
def _explained(name: str) -> Generator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ToolRefused(f"There is no {name}.") from None
    except OSError as error:
        # ELOOP and ENOTDIR are how the system says that it is a link.
        raise ToolRefused(f"{name}: {error.strerror}; links are not followed.") from error

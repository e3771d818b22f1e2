"""Attached files in the data directory, each content once, by its hash.

The file is there before its row, so a crash between the two leaves a file that no row names, and
never a row without its file. Files go only by ``forget_unused``, when they have been unused for a
while; an upload of the same content makes them young again.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)
_BATCH = 500


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file whose content is in the store, and that no row names yet."""

    file_name: str
    file_type: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class AttachmentStore:
    """A folder of files; its functions block, so they are called in a thread."""

    folder: Path

    def keep(self, content: bytes) -> str:
        """Keep a content; returns its hash. Doing it again is how a lost file comes back."""
        digest = hashlib.sha256(content).hexdigest()
        path = self.path_of(digest)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if path.exists():
            os.utime(path)
            return digest
        handle, name = tempfile.mkstemp(dir=path.parent, prefix="new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return digest

    def has(self, digest: str) -> bool:
        """Whether a content is there."""
        return self.path_of(digest).is_file()

    def path_of(self, digest: str) -> Path:
        """Where a content is, by the hash in its row."""
        if not _NAME.fullmatch(digest):
            raise ValueError(f"{digest!r} is no hash")
        return self.folder / digest[:2] / digest

    def not_sent_since(self, oldest: float) -> Iterator[list[str]]:
        """Names of files that nobody has sent since then (seconds of the epoch), some at a time."""
        batch: list[str] = []
        for path in self.folder.glob("*/*"):
            if path.stat().st_mtime < oldest:
                batch.append(path.name)
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch

    def forget_unused(self, names: Collection[str], oldest: float) -> int:
        """Remove those of these files that are still that old; returns how many."""
        count = 0
        for name in names:
            path = self.folder / name[:2] / name if _NAME.fullmatch(name) else None
            # A temporary name: who was writing it is dead.
            for found in [path] if path else list(self.folder.glob(f"*/{name}")):
                if found.exists() and found.stat().st_mtime < oldest:
                    found.unlink(missing_ok=True)
                    count += 1
        return count

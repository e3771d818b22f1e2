"""Files that one sends with words, and saves."""

import asyncio
import mimetypes
from collections.abc import Sequence
from pathlib import Path

from agentvine.kit.errors import Invalid
from agentvine.protocol.conversations import MAX_ATTACHMENT_BYTES


class AttachmentUnreadable(Invalid):
    """The file cannot be attached, or cannot be saved."""

    code = "attachment_unreadable"


async def read_files(files: Sequence[Path]) -> dict[Path, bytes]:
    """All of them, before anything is sent.

    Raises:
        AttachmentUnreadable: One cannot be read, or is too large.
    """
    return {file: await asyncio.to_thread(_read, file) for file in files}


def type_of_file(file: Path) -> str:
    """Of what kind a file is, by its name."""
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


async def write_new_file(file: Path, content: bytes) -> None:
    """Write a file where there is none yet.

    Raises:
        AttachmentUnreadable: There is one, or it cannot be written.
    """
    await asyncio.to_thread(_write_new, file, content)


def _read(file: Path) -> bytes:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise AttachmentUnreadable(f"{file} cannot be read: {error}") from error
    if len(content) > MAX_ATTACHMENT_BYTES:
        raise AttachmentUnreadable(f"{file} is larger than {MAX_ATTACHMENT_BYTES // 2**20} MiB.")
    return content


def _write_new(file: Path, content: bytes) -> None:
    try:
        with file.open("xb") as target:
            target.write(content)
    except OSError as error:
        raise AttachmentUnreadable(f"{file} cannot be written: {error}") from error

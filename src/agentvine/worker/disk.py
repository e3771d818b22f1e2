"""Writing so that a crash leaves the old file or the new one, never half of either; and sizes."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel


def write_durably(path: Path, content: bytes) -> None:
    """Write a private file whole and make sure that it has reached the disk."""
    draft = path.with_name(f"{path.name}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_directory(path.parent)


def write_model(path: Path, model: BaseModel) -> None:
    """Write a model durably as JSON."""
    write_durably(path, model.model_dump_json(exclude_unset=True).encode())


def sync_directory(directory: Path) -> None:
    """Make sure that the names in a folder have reached the disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from disk; empty when it is missing or damaged."""
    try:
        value: object = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def tree_size(path: Path) -> int:
    """Bytes that a file, or a folder with all that is in it, takes on the disk."""
    try:
        size = path.lstat().st_blocks * 512
        if path.is_symlink() or not path.is_dir():
            return size
        for folder, folders, files in os.walk(path):
            for name in (*folders, *files):
                with suppress(OSError):  # it was removed meanwhile
                    size += (Path(folder) / name).lstat().st_blocks * 512
    except OSError:
        return 0
    return size

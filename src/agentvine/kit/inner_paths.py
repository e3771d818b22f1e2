"""Names of files that shall lie inside a folder, and come from somewhere else."""

from pathlib import PurePosixPath

_MAX_PART_BYTES = 240
"""File systems allow 255 bytes for a name."""


def why_not_inside(path: str) -> str | None:
    """What is wrong with a relative path, written with slashes; None when it is a file inside.

    A name that some system takes for ``.git`` is none: whoever writes there has programs run.
    """
    parts = path.split("/")
    if PurePosixPath(path).is_absolute() or any(part in {"", ".", ".."} for part in parts):
        return "is no file inside the folder"
    if any(part.rstrip(". ").lower() in {".git", "git~1"} for part in parts):
        return "is inside .git"
    if "\\" in path or not path.isprintable():
        return "holds a character that not every system takes in a name"
    if any(len(part.encode("utf-8", "replace")) > _MAX_PART_BYTES for part in parts):
        return "has a name that is too long"
    return None

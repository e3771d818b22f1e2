"""Paths of files in a repository, and patterns of such paths."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from agentvine.kit.globs import is_wild

MAX_PATH = 1000
MAX_PATTERNS = 500
MAX_WILD = 50
"""Each is compared with each of another task's."""


def _inside_repository(path: str) -> str:
    parts = path.split("/")
    if path.startswith("/") or path[1:2] == ":" or "\\" in path or not path.isprintable():
        raise ValueError("is no path inside the repository; write it like src/app.py")
    if any(part in {"", ".", ".."} for part in parts):
        raise ValueError("must name a file inside the repository, without . and ..")
    # What some file system takes for .git is refused on all of them.
    if any(part.rstrip(". ").lower() in {".git", "git~1"} for part in parts):
        raise ValueError("must not be inside .git")
    return path


def _all_below(pattern: object) -> object:
    is_folder = isinstance(pattern, str) and pattern.rstrip().endswith("/")
    return f"{str(pattern).rstrip()}**" if is_folder else pattern


def _few_wild(patterns: list[str]) -> list[str]:
    if sum(map(is_wild, patterns)) > MAX_WILD:
        raise ValueError(f"at most {MAX_WILD} may have ? or *; name their folders instead")
    return patterns


FilePath = Annotated[
    str, Field(min_length=1, max_length=MAX_PATH), AfterValidator(_inside_repository)
]
"""A file of the repository."""
FilePattern = Annotated[FilePath, BeforeValidator(_all_below)]
"""A file, or files: ``?`` and ``*`` within a name, ``**`` for folders, ``/`` after a folder's."""
FilePatterns = Annotated[
    list[FilePattern], Field(max_length=MAX_PATTERNS), AfterValidator(_few_wild)
]

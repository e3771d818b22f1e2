"""What one file of a repository says about itself: what it imports, and what it defines.

Facts follow from a file's content and language alone, so that they can be kept by the content's
hash and used for every commit and every repository that has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import basename, splitext
from typing import Any, NamedTuple

FACTS_VERSION = 1
"""To be raised whenever the same content gives other facts: older ones are read anew then."""

MAX_LISTED = 2000
"""Imports, or symbols, kept of one file."""

_LANGUAGES = {
    ".py": "python",
    ".pyi": "python",
    ".js": "javascript",
    ".jsx": "javascript",
    ".mjs": "javascript",
    ".cjs": "javascript",
    ".ts": "typescript",
    ".mts": "typescript",
    ".cts": "typescript",
    ".tsx": "tsx",
    ".go": "go",
    ".rs": "rust",
    ".java": "java",
}


class Import(NamedTuple):
    """One import, as it is written."""

    module: str
    """Python: ``a.b``; JavaScript: ``./a``; Go: a package's path; Rust: ``crate::a::B``; Java:
    ``a.b.C``, or ``a.b.*``."""
    level: int = 0
    """Python: the number of dots before it."""
    names: tuple[str, ...] = ()
    """Python: what is imported from it."""


class Symbol(NamedTuple):
    """Something that a file defines."""

    name: str
    kind: str
    line: int
    is_public: bool


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file imports and defines."""

    language: str
    imports: tuple[Import, ...] = ()
    symbols: tuple[Symbol, ...] = ()
    package: str = ""
    """Java: the package that it belongs to; go.mod: the module's path."""
    is_readable: bool = True
    """False when it is no valid text of its language, or could not be read within the limits."""


def language_of(path: str) -> str | None:
    """The language of a file by its name; None when we read nothing out of it."""
    if basename(path) == "go.mod":
        return "go.mod"
    return _LANGUAGES.get(splitext(path)[1].lower())


def facts_to_json(facts: FileFacts) -> list[Any]:
    """Facts as a short JSON document."""
    return [facts.language, facts.imports, facts.symbols, facts.package, facts.is_readable]


def facts_from_json(stored: Sequence[Any]) -> FileFacts:
    """The facts that ``facts_to_json`` has written."""
    language, imports, symbols, package, is_readable = stored
    return FileFacts(
        language,
        tuple(Import(module, level, tuple(names)) for module, level, names in imports),
        tuple(Symbol(*symbol) for symbol in symbols),
        package,
        is_readable,
    )

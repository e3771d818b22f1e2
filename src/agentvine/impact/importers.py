"""Which files of a repository import a given one: names from import statements, nothing is run.

A file may be importable by several names (from the repository's top, from ``src``, or from
wherever its outermost package lies); an import of any of them counts.
"""

import ast
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from agentvine.impact.public_names import parse_python

_SOURCE_FOLDERS = ("src", "lib", "python")


@dataclass(slots=True)
class ImportSearch:
    """What was found, and what was not looked at."""

    importers: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """For each file asked for, the files that import it."""
    notes: list[str] = field(default_factory=list[str])


def find_importers(
    sources: Mapping[str, str],
    files: Iterable[str],
    targets: Sequence[str],
    *,
    max_seconds: float = 10.0,
) -> ImportSearch:
    """Look through source text for imports of some files.

    Args:
        sources: The Python files to look into, with their texts.
        files: All Python files that there are, by which packages are known.
        targets: The Python files asked for.
        max_seconds: When to stop looking; the notes then say so.
    """
    search = ImportSearch(importers={path: [] for path in targets})
    # A package that was deleted is asked for under its own name.
    known = {*files, *targets}
    packages = {str(PurePosixPath(path).parent) for path in known if _is_package(path)}
    by_module = _targets_by_module(targets, packages)
    pattern = _likely(targets)
    deadline = time.monotonic() + max_seconds
    for number, (path, source) in enumerate(sources.items()):
        if time.monotonic() > deadline:
            search.notes.append(
                f"The search for importers was stopped after {max_seconds:g} s, "
                f"{number} of {len(sources)} files."
            )
            break
        if not pattern.search(source):
            continue
        for module in _imported(source, path, packages):
            for target in by_module.get(module, ()):
                if target != path and path not in search.importers[target]:
                    search.importers[target].append(path)
    return search


def words_of(targets: Iterable[str]) -> tuple[list[str], bool]:
    """The words of which a file that imports any of these must hold one.

    The second says whether one is a package: it may be imported without its name, by a relative
    import from within.
    """
    paths = list(targets)
    names = {
        PurePosixPath(path).parent.name if _is_package(path) else PurePosixPath(path).stem
        for path in paths
    }
    # A line end in a name cannot be searched for, nor imported.
    words = sorted(name for name in names if name and "\n" not in name)
    return words, any(_is_package(path) for path in paths)


def module_names(path: str, packages: set[str]) -> set[str]:
    """The names a file may be imported by."""
    pure = PurePosixPath(path)
    parts = pure.parent.parts if _is_package(path) else (*pure.parent.parts, pure.stem)
    names: set[str] = set()
    # From wherever the outermost package lies.
    start = len(pure.parent.parts)
    while start and str(PurePosixPath(*pure.parts[:start])) in packages:
        start -= 1
    names.add(".".join(parts[start:]))
    names.add(".".join(parts))
    if parts and parts[0] in _SOURCE_FOLDERS:
        names.add(".".join(parts[1:]))
    return names - {""}


def _is_package(path: str) -> bool:
    return PurePosixPath(path).stem == "__init__"


def _targets_by_module(targets: Iterable[str], packages: set[str]) -> Mapping[str, list[str]]:
    by_module: dict[str, list[str]] = {}
    for path in targets:
        for name in module_names(path, packages):
            by_module.setdefault(name, []).append(path)
    return by_module


def _likely(targets: Iterable[str]) -> re.Pattern[str]:
    # Parsing is slow: only files that mention one of the last names are worth it.
    words, has_package = words_of(targets)
    likely = [*map(re.escape, words), *([r"from\s+\."] if has_package else [])]
    return re.compile("|".join(rf"\b{word}" for word in likely) or r"(?!)")


def _imported(source: str, path: str, packages: set[str]) -> set[str]:
    tree = parse_python(source)
    found: set[str] = set()
    for node in ast.walk(tree) if tree is not None else ():
        match node:
            case ast.Import():
                found |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                for base in _bases(node, path, packages):
                    found.add(base)
                    # What is imported may be a module of the package, or a name in it.
                    found |= {f"{base}.{alias.name}" for alias in node.names}
            case _:
                pass
    return found


def _bases(node: ast.ImportFrom, path: str, packages: set[str]) -> set[str]:
    if not node.level:
        return {node.module or ""}
    bases: set[str] = set()
    for name in module_names(path, packages):
        parts = name.split(".")
        up = node.level - 1 if _is_package(path) else node.level
        if up <= len(parts):
            bases.add(".".join([*parts[: len(parts) - up], *(node.module or "").split(".")]))
    return {base.strip(".") for base in bases} - {""}

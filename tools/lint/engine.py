"""Reads files, runs the rules over them, and weighs the escapes."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.lint.escapes import read_escapes
from tools.lint.rule import Finding, Rule
from tools.lint.rules import RULES
from tools.lint.source import SourceFile

ROOT = Path(__file__).resolve().parents[2]
ESCAPE_CODE = "AV000"
_MAX_BYTES = 2_000_000
_SKIPPED_FOLDERS = {".git", ".venv", "build", "dist", "node_modules", "__pycache__"}


@dataclass(frozen=True, slots=True, order=True)
class Report:
    """A finding with its file and its rule, ready to print."""

    path: str
    line: int
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.code} {self.message}"


def lint_tree(root: Path = ROOT, paths: Iterable[Path] = ()) -> list[Report]:
    """Everything that is wrong below the root, or only below the given paths."""
    reports: list[Report] = []
    for path in list_files(root, paths):
        source = _read(root, path)
        if source is not None:
            reports.extend(lint_file(source))
    return sorted(reports)


def lint_file(source: SourceFile, rules: tuple[Rule, ...] = RULES) -> Iterator[Report]:
    """What the rules find in one file, without what an escape lets through."""
    try:
        if source.is_python:
            _ = source.tree
    except SyntaxError as error:
        yield Report(source.path, error.lineno or 1, ESCAPE_CODE, f"does not parse: {error.msg}")
        return
    escapes, malformed = read_escapes(source)
    used: set[tuple[int, str]] = set()
    for rule in rules:
        for finding in rule.findings(source):
            covering = [escape for escape in escapes if escape.covers(rule.code, finding)]
            used.update((escape.comment_line, rule.code) for escape in covering)
            if not covering:
                yield Report(source.path, finding.line, rule.code, finding.message)
    unused = [
        Finding(escape.comment_line, f"this escape of {code} lets nothing through: remove it")
        for escape in escapes
        for code in escape.codes
        if (escape.comment_line, code) not in used
    ]
    if not source.is_python:
        return  # a document may speak of escapes
    for finding in malformed + unused:
        yield Report(source.path, finding.line, ESCAPE_CODE, finding.message)


def list_files(root: Path, paths: Iterable[Path] = ()) -> list[str]:
    """The files git knows or would add, relative to the root; every file where git has no say."""
    wanted = [path.resolve().relative_to(root).as_posix() for path in paths]
    # Without the variables that a git hook sets: they would point git at another tree.
    environment = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=root,
        env=environment,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        names = sorted({name for name in os.fsdecode(listed.stdout).split("\0") if name})
    else:
        names = sorted(_walk(root))
    return [name for name in names if not wanted or _is_below(name, wanted)]


def _walk(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in _SKIPPED_FOLDERS]
        for name in files:
            yield (Path(folder) / name).relative_to(root).as_posix()


def _is_below(name: str, wanted: list[str]) -> bool:
    return any(each in (".", name) or name.startswith(f"{each}/") for each in wanted)


def _read(root: Path, path: str) -> SourceFile | None:
    """The file, unless it is gone, a link, binary or huge."""
    full = root / path
    if full.is_symlink() or not full.is_file() or full.stat().st_size > _MAX_BYTES:
        return None
    content = full.read_bytes()
    if b"\0" in content:
        return None
    return SourceFile(path, content.decode("utf-8", errors="replace"))

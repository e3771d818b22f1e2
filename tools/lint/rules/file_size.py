"""A file fits in a reader's head: 500 lines at most, 800 for tests.

Above that it holds two subjects, and changes to one are reviewed by people who know the other.
Split by use case (``service/claim.py``, ``service/release.py``) and re-export the public names.
"""

from collections.abc import Iterator
from pathlib import Path

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

WARN_LINES = 300
MAX_LINES = 500
MAX_TEST_LINES = 800

_SCOPE = Scope(
    include=("src/*.py", "tools/*.py", "tests/*.py", "benchmarks/*.py"),
    exclude=("src/agentvine/db/migrations/versions/*",),
)


def check(source: SourceFile) -> Iterator[Finding]:
    """Files above their limit."""
    limit = MAX_TEST_LINES if source.path.startswith("tests/") else MAX_LINES
    if len(source.lines) > limit:
        message = f"{len(source.lines)} lines, {limit} at most: split it by use case"
        yield Finding(1, message)


def lines_above(path: Path, limit: int) -> int | None:
    """How many lines a checked file of ours has, if above the limit; tests are not asked."""
    parts = path.as_posix()
    if path.suffix != ".py" or "/tests/" in parts or "/migrations/versions/" in parts:
        return None
    if not path.is_file():
        return None
    count = len(path.read_text(encoding="utf-8", errors="replace").splitlines())
    return count if count > limit else None


RULE = Rule(
    code="AV013",
    title=f"a file has at most {MAX_LINES} lines, a test file {MAX_TEST_LINES}",
    scope=_SCOPE,
    check=check,
    good=(
        Sample("src/agentvine/kit/a.py", "x = 1\n" * MAX_LINES),
        Sample("tests/kit/test_a.py", "x = 1\n" * MAX_TEST_LINES),
        Sample("src/agentvine/db/migrations/versions/2026/a.py", "x = 1\n" * 2000),
    ),
    bad=(
        Sample("src/agentvine/kit/a.py", "x = 1\n" * (MAX_LINES + 1)),
        Sample("tests/kit/test_a.py", "x = 1\n" * (MAX_TEST_LINES + 1)),
    ),
)

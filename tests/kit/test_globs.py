"""Patterns of paths: where two may name the same file."""

import fnmatch
import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentvine.kit.globs import condense, find_common, may_meet


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("src/app.py", "src/app.py", True),
        ("src/app.py", "src/app.pyi", False),
        ("src", "src/app.py", True),
        ("src", "src2/app.py", False),
        ("src/*.py", "src/app.py", True),
        ("src/*.py", "src/deep/app.py", False),
        ("src/*", "src/deep/app.py", False),
        ("src", "src/*.py", True),
        ("src", "src/deep/**/*.py", True),
        ("src/app.py", "**/test_*.py", False),
        ("src/**", "src/deep/app.py", True),
        ("**/test_*.py", "tests/kit/test_globs.py", True),
        ("**/test_*.py", "src/**", True),
        ("src/*.py", "src/*.js", False),
        ("src/a*.py", "src/*b.py", True),
        ("src/a?.py", "src/ab.py", True),
        ("src/a?.py", "src/abc.py", False),
        ("**", "anything/at/all", True),
        ("docs/**/index.md", "docs/index.md", True),
        ("docs/**/index.md", "docs/a/b/other.md", False),
        ("app/[id]/page.tsx", "app/i/page.tsx", False),  # no class of characters: a name
    ],
)
def test_two_patterns_meet_where_a_path_fits_both(one: str, other: str, meet: bool):
    assert (may_meet(one, other), may_meet(other, one)) == (meet, meet)


_name = st.text(alphabet="ab*?", min_size=1, max_size=4)
_pattern = st.lists(_name | st.just("**"), min_size=1, max_size=3).map("/".join)


def _fits(pattern: list[str], path: tuple[str, ...]) -> bool:
    """The same meaning, said in another way."""
    if not pattern:
        return not path
    if pattern[0] == "**":
        return _fits(pattern[1:], path) or (bool(path) and _fits(pattern, path[1:]))
    is_fit = bool(path) and fnmatch.fnmatchcase(path[0], pattern[0])
    return is_fit and _fits(pattern[1:], path[1:])


_PATHS = [
    parts for depth in (1, 2, 3) for parts in itertools.product(("a", "b", "aab"), repeat=depth)
]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_pattern, _pattern)
def test_patterns_that_both_fit_a_path_meet(one: str, other: str):
    ours, theirs = one.split("/"), other.split("/")
    if any(_fits(ours, path) and _fits(theirs, path) for path in _PATHS):
        assert may_meet(one, other)


def test_of_two_that_meet_the_narrower_is_named():
    assert find_common(["src/**", "README.md"], ["src/app.py", "docs"]) == ["src/app.py"]
    assert find_common(["src/app.py"], ["src"]) == ["src/app.py"]
    assert find_common(["src"], ["src/app.py"]) == ["src/app.py"]
    assert find_common(["src/*.py"], ["src/app*.py"]) == ["src/app*.py"]
    assert find_common(["a"], ["b"]) == find_common([], ["b"]) == []


def test_too_many_files_become_their_folders():
    paths = [f"src/part{i}/file{j}.py" for i in range(3) for j in range(4)] + ["README.md"]
    assert condense(paths, count=20, length=100) == sorted(paths)
    assert condense(paths, count=4, length=100) == [
        "README.md", "src/part0", "src/part1", "src/part2",
    ]  # fmt: skip
    assert condense(paths, count=1, length=100) == ["**"]
    assert condense(["very/long/name"], count=9, length=9) == ["very/long"]
    assert condense(["verylongname"], count=9, length=9) == ["**"]

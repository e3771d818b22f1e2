"""How far the change of some files goes: dependants, tests, public names, migrations, and risk."""

import re
from collections.abc import Iterable, Sequence

from agentvine.impact.reading import CommitMap
from agentvine.protocol.impact import Dependants, Reach, Risk, RiskLevel

_MAX_DEPTH = 6
_MAX_LISTED = 50
_MANY_DEPENDANTS, _SOME_DEPENDANTS = 25, 5
_MANY_FILES = 10
_TEST_FOLDERS = frozenset({"test", "tests", "__tests__", "spec", "specs", "testing"})
_TEST_NAME = re.compile(
    r"test_.+\.py|.+_test\.(py|go)|conftest\.py|.+\.(test|spec)\.[cm]?[jt]sx?|.+Tests?\.java"
)
_MIGRATION_FOLDERS = frozenset({"migrations", "migrate", "alembic", "flyway", "liquibase"})
_SENSITIVE = re.compile(
    r"(?<![a-z])(auth|authn|authz|authentication|authorization|login|session|password|passwd"
    r"|crypto|crypt|secret|token|permission|payment|billing|security)s?(?![a-z])",
    re.IGNORECASE,
)
_BUILD = re.compile(
    r"(^|/)(\.github/workflows/.*|\.gitlab-ci\.yml|Dockerfile[^/]*|Makefile|pyproject\.toml"
    r"|setup\.(py|cfg)|requirements[^/]*\.txt|package\.json|go\.mod|Cargo\.toml|pom\.xml"
    r"|build\.gradle(\.kts)?)$"
)


def is_test(path: str) -> bool:
    """Whether a file is a test, or helps tests, by the usual names."""
    *folders, name = path.split("/")
    is_in_folder = any(folder.lower() in _TEST_FOLDERS for folder in folders)
    return is_in_folder or _TEST_NAME.fullmatch(name) is not None


def is_migration(path: str) -> bool:
    """Whether a file changes a database's schema, by the usual places."""
    *folders, _ = path.split("/")
    return any(folder.lower() in _MIGRATION_FOLDERS for folder in folders)


def reach_of(found: CommitMap, files: Sequence[str], *, broken: Iterable[str] = ()) -> Reach:
    """How far a change of these files goes in a commit.

    Args:
        found: The commit, with the change or without it.
        files: What is changed, or likely to be.
        broken: Public names that are known to go or to change, as ``path: name``.
    """
    levels = found.graph.dependants(files, _MAX_DEPTH)
    reached = [path for level in levels for path in level]
    tests = [path for path in (*files, *reached) if is_test(path)]
    imported = [path for path in files if found.graph.importers.get(path)]
    interfaces = [
        f"{path}: {symbol.name}"
        for path in imported
        if path in found.facts and not is_test(path)
        for symbol in found.facts[path].symbols
        if symbol.is_public
    ]
    migrations = [path for path in files if is_migration(path)]
    return Reach(
        dependants=[
            Dependants(depth=depth, count=len(level), files=level[:_MAX_LISTED])
            for depth, level in enumerate(levels, 1)
        ],
        tests=tests[:_MAX_LISTED],
        interfaces=interfaces[:_MAX_LISTED],
        migrations=migrations,
        risk=_risk(found, files, reached, sorted(broken)),
    )


def _risk(
    found: CommitMap, files: Sequence[str], reached: Sequence[str], broken: Sequence[str]
) -> Risk:
    """The highest level that any reason gives; three reasons for medium make it high."""
    reasons = [
        *_reasons_of_places(files),
        *_reasons_of_use(found, files, reached, broken),
    ]
    levels = [level for level, _ in reasons]
    if RiskLevel.HIGH in levels or levels.count(RiskLevel.MEDIUM) > 2:
        level = RiskLevel.HIGH
    else:
        level = RiskLevel.MEDIUM if levels else RiskLevel.LOW
    return Risk(level=level, reasons=[reason for _, reason in reasons])


def _reasons_of_places(files: Sequence[str]) -> list[tuple[RiskLevel, str]]:
    code = [path for path in files if not is_test(path)]
    reasons: list[tuple[RiskLevel, str]] = []
    if not files:
        reasons.append((RiskLevel.MEDIUM, "It is not known which files it touches."))
    if migrations := [path for path in files if is_migration(path)]:
        reasons.append((RiskLevel.HIGH, f"It touches migrations: {_few(migrations)}."))
    if sensitive := [path for path in code if _SENSITIVE.search(path)]:
        told = f"It touches what guards access, secrets or money: {_few(sensitive)}."
        reasons.append((RiskLevel.HIGH, told))
    if build := [path for path in code if _BUILD.search(path)]:
        reasons.append((RiskLevel.MEDIUM, f"It touches how all is built: {_few(build)}."))
    if len(code) > _MANY_FILES:
        reasons.append((RiskLevel.MEDIUM, f"It touches {len(code)} files besides tests."))
    return reasons


def _reasons_of_use(
    found: CommitMap, files: Sequence[str], reached: Sequence[str], broken: Sequence[str]
) -> list[tuple[RiskLevel, str]]:
    reasons: list[tuple[RiskLevel, str]] = []
    users = [path for path in reached if not is_test(path)]
    if len(users) >= _SOME_DEPENDANTS:
        level = RiskLevel.HIGH if len(users) >= _MANY_DEPENDANTS else RiskLevel.MEDIUM
        reasons.append((level, f"{len(users)} files besides tests depend on what it touches."))
    used = [name for name in broken if found.graph.importers.get(name.rpartition(": ")[0])]
    if used:
        told = f"Public names that others import go or change: {_few(used)}."
        reasons.append((RiskLevel.HIGH, told))
    untested = [
        path
        for path in files
        if path in found.facts
        and not is_test(path)
        and not any(
            is_test(user) for level in found.graph.dependants([path], _MAX_DEPTH) for user in level
        )
    ]
    if untested:
        reasons.append((RiskLevel.MEDIUM, f"No test reaches {_few(untested)}."))
    return reasons


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more

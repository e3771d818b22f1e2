"""The real program on code that nobody here wrote."""

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import Sandbox
from tests.support.repositories import Repo

SORT_IMPORTS = f"{sys.executable} -m isort --profile black src"
TESTS = (
    f"PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 PYTHONPATH=src {sys.executable} -m pytest -q "
    "-p no:cacheprovider tests"
)

_TESTS_OF_IT = """\
import structlog


def test_events_are_rendered():
    render = structlog.processors.JSONRenderer()
    assert render(None, "info", {"event": "x", "n": 1}) == '{"event": "x", "n": 1}'


def test_a_logger_binds_values():
    log = structlog.wrap_logger(structlog.testing.CapturingLogger(), processors=[])
    assert structlog.get_context(log.bind(a=1)) == {"a": 1}
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole stories of several processes: each wait ends on a signal, none on this."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(300))
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A home and a data directory of this test's own, where no server runs."""
    return Sandbox(tmp_path / "sandbox")


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A server with two workers, for all stories that do not end it."""
    shared = Sandbox(tmp_path_factory.mktemp("team"))
    with shared.up("--workers", "2"):
        yield shared


@pytest.fixture(scope="session")
def foreign_source(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """A repository with the source of an installed package, and a few tests of it."""
    spec = importlib.util.find_spec("structlog")
    assert spec is not None
    assert spec.submodule_search_locations
    path = tmp_path_factory.mktemp("foreign") / "structlog"
    shutil.copytree(
        spec.submodule_search_locations[0],
        path / "src" / "structlog",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    repo = Repo(path)
    repo.git("init", "-q", "-b", "main")
    repo.commit(
        {"tests/test_structlog.py": _TESTS_OF_IT, ".gitignore": "__pycache__/\n"},
        "What somebody else wrote",
    )
    return repo


@pytest.fixture
def repo(foreign_source: Repo, tmp_path: Path) -> Repo:
    """A clone of it for this test alone, with a name of its own."""
    path = tmp_path / f"structlog-{tmp_path.name}"
    foreign_source.git("clone", "-q", foreign_source.path, path)
    clone = Repo(path)
    clone.git("remote", "remove", "origin")
    return clone

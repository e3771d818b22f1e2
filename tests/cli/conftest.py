"""A server with a worker for the whole session, and commands that run inside the test's process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentvine.__main__ import PARTS
from agentvine.cli.failures import run
from tests.support.cli import Done, Sandbox
from tests.support.repositories import Repo, make_repo


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """A home and a data directory of this test's own."""
    return Sandbox(tmp_path)


@dataclass
class Cli:
    """Commands run in this process: as fast as a function, with all of the real code."""

    invoke: Callable[[list[str]], Done]

    def __call__(self, *arguments: str) -> Done:
        return self.invoke(list(arguments))

    def ok(self, *arguments: str) -> Done:
        """A command that must succeed."""
        done = self(*arguments)
        assert done.exit_code == 0, (arguments, done)
        return done


def _cli_in(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Cli:
    for name in ("AGENTVINE_SERVER_URL", "AGENTVINE_TOKEN", "AGENTVINE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in sandbox.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)

    def invoke(arguments: list[str]) -> Done:
        capfd.readouterr()
        exit_code = run(arguments, PARTS)
        said = capfd.readouterr()
        return Done(exit_code, said.out, said.err)

    return Cli(invoke)


@pytest.fixture
def alone(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Cli:
    """Commands where no server runs."""
    return _cli_in(sandbox, monkeypatch, capfd)


@pytest.fixture(scope="session")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A server with one worker, for all tests that only use it."""
    shared = Sandbox(tmp_path_factory.mktemp("team"))
    with shared.up("--workers", "1"):
        yield shared


@pytest.fixture
def cli(team: Sandbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cli:
    """Commands where a server runs."""
    return _cli_in(team, monkeypatch, capfd)


@pytest.fixture
def repository(tmp_path: Path) -> Repo:
    """A git repository with one commit on main, unlike those of other tests."""
    return make_repo(tmp_path / f"repo-{tmp_path.name}")

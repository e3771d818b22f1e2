"""The real CLIs of agents, each with a home of its own, and models that follow a script."""

import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentvine.llm.scripted import parse_script
from agentvine.llm.scripted.serving import serving
from agentvine.runtimes.registry import builtin_runtimes
from tests.clis.driving import CLIS_OF, MODELS, Drive, MakeDrive
from tests.clis.installing import CLIS, NotInstalled, install
from tests.support.repositories import make_repo

_LONG_ONLY = {"mini-swe-agent", "aider"}
"""Python's own are large, and slow to install."""


@dataclass
class InstalledCli:
    """A CLI that can be run."""

    program: str
    folders: list[Path]
    home: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """All that it sees of ours."""
        path = os.pathsep.join([*map(str, self.folders), os.defpath])
        return {"PATH": path, "HOME": str(self.home), "LC_ALL": "C.UTF-8", **self.more}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All are of the suite of CLIs, which installs what it needs; some of its long form alone."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            names = set(getattr(getattr(item, "callspec", None), "params", {}).values())
            is_long = any(isinstance(name, str) and name in _LONG_ONLY for name in names)
            is_long = is_long or item.get_closest_marker("clis_long") is not None
            item.add_marker(pytest.mark.clis_long if is_long else pytest.mark.clis)
            # The first test of a program may have to install it.
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture
def installed() -> Callable[[str], list[Path]]:
    """Brings a CLI; gives the folders to put on PATH. Without a registry the test fails."""

    def bring(*names: str) -> list[Path]:
        try:
            return [folder for name in names for folder in install(name)]
        except NotInstalled as error:
            pytest.fail(str(error), pytrace=False)

    return bring


@pytest.fixture
def cli(installed: Callable[[str], list[Path]], tmp_path: Path) -> Callable[[str], InstalledCli]:
    """Brings a CLI that is to be run by hand."""

    def bring(name: str) -> InstalledCli:
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        return InstalledCli(CLIS[name].program, installed(name), home)

    return bring


@pytest.fixture
async def drive(
    installed: Callable[..., list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeDrive]:
    """Makes a run of a runtime, with a repository and a home of its own."""
    repo = make_repo(tmp_path / "repository", {"README.md": "A repository.\n"})
    async with serving(parse_script("turns: [{text: Nothing.}]")) as (upstream, url, _):

        def make(name: str, script: str) -> Drive:
            folders = dict.fromkeys(map(str, installed(*CLIS_OF[name])))
            monkeypatch.setenv("PATH", os.pathsep.join(folders), prepend=os.pathsep)
            # Codex makes no links to its helpers, and so has no sandbox, in a home below this.
            (tmp_path / "tmp").mkdir(exist_ok=True)
            monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
            # A proxy of the user's must not come between an agent and the gateway.
            monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
            # Their login shells would read the user's files, and be killed at it.
            monkeypatch.setenv("HOME", str(tmp_path))
            upstream.play(parse_script(script))
            home = tmp_path / "home"
            home.mkdir(exist_ok=True)
            return Drive(
                runtime=builtin_runtimes().get(name),
                worktree=repo.path,
                home=home,
                base_url=url,
                upstream=upstream,
                model=MODELS.get(name, "scripted"),
            )

        yield make

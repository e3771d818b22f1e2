"""What keeps a repository from having an agent's program run something before anybody is asked.

Most programs can be told to read no settings of a repository's; each driver does so. Gemini CLI and
Qwen Code, which comes from it, read a file there in any case. To Qwen Code ours is the system's,
which no other overrides; Gemini CLI takes such from root alone, and so is kept from trusting a
repository that brings any (``acp/agents.py``). A few programs cannot be kept from it: these do not
work on a repository that brings what they would run, unless a sandbox holds them.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import Any

from agentvine.kit.errors import Invalid
from agentvine.protocol.enums import PermissionLevel
from agentvine.runtimes.base import RunContext
from agentvine.runtimes.own_tools import SERVER


class RepositoryRunsPrograms(Invalid):
    """The repository would have the agent's program run something unasked."""

    code = "repository_runs_programs"


def brought_by(folder: Path, *names: str) -> list[str]:
    """Which of these a work tree has, be it only as a link that leads nowhere.

    Args:
        folder: The work tree.
        names: Paths in it; ``*`` in the last part of one stands for any text.
    """
    entries = {above: _entries_of(folder / above) for above in {PurePath(n).parent for n in names}}
    return [
        str(PurePath(name).with_name(entry))
        for name in names
        for entry in entries[PurePath(name).parent]
        if fnmatchcase(entry, PurePath(name).name)
    ]


def _entries_of(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def require_harmless(context: RunContext, agent: str, found: Sequence[str]) -> None:
    """See that nothing was found that the program would run by itself; a sandbox may have it.

    Args:
        context: The run.
        agent: The program as people call it.
        found: What is in the work tree that it would run, or do as it says.

    Raises:
        RepositoryRunsPrograms: Something was, and there is no sandbox.
    """
    if found and context.sandbox is None:
        raise RepositoryRunsPrograms(
            f"The repository brings {', '.join(sorted(found))}. {agent} runs what is named there "
            "before anybody is asked, and cannot be told not to. Remove it, choose another "
            "runtime, or have the repository's runs kept in a sandbox."
        )


HELD_SETTINGS: dict[str, Any] = {
    "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    # Qwen Code knows the one, Gemini CLI the other.
    "disableAllHooks": True,
    "hooksConfig": {"enabled": False},
    "tools": {"discoveryCommand": "", "callCommand": "", "allowed": []},
    "mcp": {"allowed": [SERVER], "serverCommand": ""},
}
"""What both are held to; of objects and lists of others, only what is not named here remains."""
QWEN_VARIABLE = "QWEN_CODE_SYSTEM_SETTINGS_PATH"
_ASKED: dict[PermissionLevel, tuple[str, ...]] = {
    PermissionLevel.HUMAN_REQUIRED: ("Bash", "Edit"),
    PermissionLevel.SUPERVISED: ("Bash",),
    PermissionLevel.AUTONOMOUS: (),
}


def held_for_qwen(level: PermissionLevel) -> dict[str, Any]:
    """Qwen Code's: what it is to ask for outranks what a repository allows."""
    return HELD_SETTINGS | {"permissions": {"ask": list(_ASKED[level])}}

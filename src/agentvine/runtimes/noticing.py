"""A cheap look at which agents' programs and logins are here.

To start each program for its version takes seconds of processor time, so that a worker cannot do it
again and again. What is looked at here takes next to none, and is different whenever it is worth
that time.
"""

from dataclasses import dataclass
from pathlib import Path

from agentvine.runtimes.base import LoginState
from agentvine.runtimes.detection import find_program
from agentvine.runtimes.logins import ALL_LOGINS
from agentvine.runtimes.pins import ALL_PINS


@dataclass(frozen=True, slots=True)
class Signs:
    """What there is to see. Two looks at the same state are equal."""

    programs: tuple[tuple[str, int, int, int] | None, ...]
    """Of each program that we know: its path, and what of its file a new version changes."""
    logins: tuple[LoginState, ...]


def look_for_signs() -> Signs:
    """Look; it reads the disk, and starts nothing."""
    programs = tuple(_sign_of(find_program(pin)) for pin in ALL_PINS)
    return Signs(programs, tuple(login.state() for login in ALL_LOGINS))


def _sign_of(program: Path | None) -> tuple[str, int, int, int] | None:
    if program is None:
        return None
    try:
        # The file itself, where package managers put a link.
        about = program.stat()
    except OSError:
        return None
    # Not its times alone: npm gives every file the same.
    return str(program), about.st_ino, about.st_mtime_ns, about.st_size

"""The lines at the end of a commit's message that say where the commit comes from.

They stay with the commit when branches are merged, renamed or pushed elsewhere, and most ways to
squash keep the messages they are in; so a commit can be told from others without the database.
"""

import re
from enum import StrEnum


class Trailer(StrEnum):
    """What a commit of ours may name, by id."""

    TASK = "AgentVine-Task"
    EXECUTION = "AgentVine-Execution"
    MODIFICATION = "AgentVine-Modification"
    PLAN = "AgentVine-Plan"
    ARTIFACT = "AgentVine-Artifact"


_LINE = re.compile(rf"^\s*({'|'.join(Trailer)}):[ \t]*(\S{{1,200}})[ \t]*$", re.MULTILINE)


def with_trailers(message: str, trailers: dict[Trailer, object]) -> str:
    """A commit's message, ended by its trailers."""
    lines = "".join(f"{name}: {value}\n" for name, value in trailers.items())
    return f"{message.strip()}\n\n{lines}"


def read_trailers(message: str) -> dict[Trailer, str]:
    """The trailers in a message; wherever they stand, for a squash puts messages together.

    Of several of one kind the last counts, which is the newest.
    """
    return {Trailer(name): value for name, value in _LINE.findall(message)}

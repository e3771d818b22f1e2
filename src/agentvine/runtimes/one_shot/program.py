"""One run of an agent that only prints: text in, text out, and a file or a line that tells the end.

Both that we know call models by the same library, LiteLLM, and so find the gateway alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agentvine.runtimes.agent import ProgramEnd, Step
from agentvine.runtimes.asking import RunAnswer, RunQuestion
from agentvine.runtimes.base import RunContext
from agentvine.runtimes.events import AgentEvent
from agentvine.runtimes.logins import OwnLogin
from agentvine.runtimes.runner import Program

_LIBRARY = {
    # It would ask for its table of prices.
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    # What it prints is to be seen while it works, in lines as long as they are.
    "PYTHONUNBUFFERED": "1",
    "COLUMNS": "200",
    "NO_COLOR": "1",
}


class Reader(Protocol):
    """Makes sense of what such an agent prints."""

    def on_line(self, line: str) -> Sequence[AgentEvent]:
        """What a line means."""
        ...

    def on_end(self, end: ProgramEnd) -> Sequence[AgentEvent]:
        """How it went."""
        ...


class OneShotProgram:
    """The translation of one run."""

    def __init__(self, program: Program, reader: Reader) -> None:
        """Start this, and let that read it."""
        self._program = program
        self._reader = reader

    def program(self) -> Program:
        """The agent; its task is among its arguments."""
        return self._program

    def begin(self) -> Step:
        """It knows all."""
        return Step()

    def on_line(self, line: str) -> Step:
        """One line that it printed."""
        return Step(events=self._reader.on_line(line))

    def answer(self, question: RunQuestion, answer: RunAnswer) -> Step:  # noqa: ARG002 - it never asks
        """It never asks."""
        return Step()

    def steer(self, text: str) -> Step | None:  # noqa: ARG002 - it does not listen
        """It does not listen."""
        return None

    def interrupt(self) -> Step | None:
        """It knows no words for that; a signal ends it."""
        return None

    def on_end(self, end: ProgramEnd, /) -> Sequence[AgentEvent]:
        """What its reader makes of it."""
        return self._reader.on_end(end)


@dataclass(frozen=True, slots=True)
class LibraryAccess:
    """How LiteLLM reaches a model."""

    model: str
    """With the word for the language that it is to be asked in."""
    address: Mapping[str, str]
    """The variable for where that is; nothing where it is the provider itself."""
    environment: Mapping[str, str]
    """Keys and the rest."""


def library_access(context: RunContext, login: OwnLogin, model: str) -> LibraryAccess:
    """The way to the gateway, or with the worker's own keys to the provider."""
    is_claude = model.startswith("claude")
    name = model if "/" in model else f"{'anthropic' if is_claude else 'openai'}/{model}"
    if (access := context.models) is None:
        return LibraryAccess(name, {}, {**_LIBRARY, **login.variables()})
    if is_claude:
        address = {"ANTHROPIC_API_BASE": f"{access.base_url}/anthropic"}
        keys = {"ANTHROPIC_API_KEY": access.key}
    else:
        address = {"OPENAI_API_BASE": f"{access.base_url}/openai/v1"}
        keys = {"OPENAI_API_KEY": access.key}
        # An alias with a slash is the gateway's, and no word for a language.
        name = f"openai/{model}"
    return LibraryAccess(name, address, {**_LIBRARY, **address, **keys})

"""What a request asks of a model, whatever wire format it came in."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

Json = dict[str, Any]

# Clients put these before, between and after what people say; none of it begins a new step.
_NO_PROMPT = (
    "<system-reminder>",
    "<environment_context>",
    "<environment_details>",
    "<session_context>",
    "<turn_aborted>",
    "<permissions",
    "<user_instructions>",
    "<INSTRUCTIONS>",
    "# AGENTS.md instructions",
    "This is the Gemini CLI.",
    "This is the Qwen Code.",
)
_FOLDER = re.compile(
    r"(?:working directory(?: is)?(?: now)?:?|working in the directory:?|<cwd>)\s*`?(/[^\s<`'\"]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Offered:
    """A tool that the request lets the model call."""

    name: str
    schema: Json = field(default_factory=dict[str, Any])
    is_custom: bool = False
    """Whether its input is plain text (OpenAI's custom tools)."""

    @property
    def properties(self) -> Mapping[str, Any]:
        """Its parameters by name."""
        return as_dict(self.schema.get("properties"))

    @property
    def required(self) -> list[str]:
        """The parameters that it must be given."""
        return [str(each) for each in as_list(self.schema.get("required"))]


class Transcript:
    """A conversation as far as it tells at which step it is; fed in its own order."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self.prompts: list[str] = []
        """What the user said, each time the model had come to an end."""
        self.results = 0
        """Results of tools since then."""
        self.replies = 0
        """What the model said in all."""
        self.remarks: list[str] = []
        """What the client put in, and nobody said."""
        self._is_in_prompt = False

    def add_prompt(self, texts: Iterable[str]) -> None:
        """The user said something, in these parts."""
        said = ""
        for text in texts:
            if text.lstrip().startswith(_NO_PROMPT):
                self.remarks.append(text)
            elif text.strip():
                said += f"\n{text}" if said else text
        if not said:
            return
        if self._is_in_prompt:
            self.prompts[-1] += f"\n{said}"
        else:
            self.prompts.append(said)
        self._is_in_prompt = True
        self.results = 0

    def add_results(self, number: int = 1) -> None:
        """Tools gave so many results."""
        if number:
            self.results += number
            self._is_in_prompt = False

    def add_reply(self, *, is_new: bool = True) -> None:
        """The model said something; a further part of the same reply is not new."""
        self.replies += is_new
        self._is_in_prompt = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, read."""

    wire: str
    model: str
    is_stream: bool
    wants_usage: bool = True
    """Whether the caller is to be told the usage of a stream."""
    is_sse: bool = True
    system: str = ""
    transcript: Transcript
    tools: tuple[Offered, ...] = ()
    key: str = ""
    size: int = 0
    """Bytes of the body."""
    max_output: int | None = None
    """How many tokens the answer may have; None where the request does not say."""

    @property
    def folder(self) -> str | None:
        """Where the agent says that it works; what it said last, where it has moved."""
        told = self.transcript
        said = "\n".join([self.system, *told.remarks, *told.prompts])
        found = _FOLDER.findall(said)
        return found[-1].rstrip(".,;:") if found else None

    def find_tool(self, name: str) -> Offered | None:
        """The offered tool of this very name."""
        return next((tool for tool in self.tools if tool.name == name), None)


def as_dict(value: object) -> Json:
    """An object of the request; an empty one for anything else."""
    return cast("Json", value) if isinstance(value, dict) else {}


def as_count(*values: object) -> int | None:
    """The first that is a number of things; None where there is none."""
    return next((each for each in values if isinstance(each, int) and each > 0), None)


def as_list(value: object) -> list[object]:
    """A list of the request; an empty one for anything else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def texts_of(content: object) -> list[str]:
    """The texts of a message's content: a string, or a list of parts."""
    if isinstance(content, str):
        return [content]
    parts = [as_dict(part) for part in as_list(content)]
    return [part["text"] for part in parts if isinstance(part.get("text"), str)]

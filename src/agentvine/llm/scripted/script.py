"""Scripts: what a model shall say, in YAML, as docs/reference/scripts.md describes it."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from agentvine.kit.errors import Invalid

FOREVER = "forever"
Times = int | Literal["forever"]


class ScriptInvalid(Invalid):
    """The script is not one that a model could follow."""

    code = "script_invalid"


class _Part(BaseModel):
    """A part of a script: what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Usage(_Part):
    """What a turn says it used: each number goes to the field of the wire format as it is."""

    input: int | None = Field(default=None, ge=0)
    """None: a fourth of the request's bytes."""
    output: int | None = Field(default=None, ge=0)
    """None: a fourth of the answer's characters."""
    cache_read: int = Field(default=0, ge=0)
    cache_write: int = Field(default=0, ge=0)
    reasoning: int = Field(default=0, ge=0)


class ToolCall(_Part):
    """One call of a tool, by a neutral name or by the tool's own."""

    tool: str
    input: Any = None
    server: str | None = None
    """The MCP server that the tool belongs to."""
    is_neutral: bool = False

    @model_validator(mode="before")
    @classmethod
    def _take_short_form(cls, given: object) -> object:
        """``{write_file: {...}}`` is a neutral call, ``{tool: Bash, input: {...}}`` a plain one."""
        if not isinstance(given, Mapping) or "tool" in given:
            return cast("object", given)
        short = cast("Mapping[str, Any]", given)
        if len(short) != 1:
            raise ValueError("a call has one tool's name, or the members tool and input")
        [(name, arguments)] = short.items()
        return {"tool": name, "input": arguments or {}, "is_neutral": True}


class Fault(_Part):
    """How a request fails that reaches a turn, before the turn is given."""

    times: Times = 1
    """How many requests fail so, of each conversation, until the next fault or the turn itself."""
    delay: float = Field(default=0, ge=0)
    status: int | None = Field(default=None, ge=400, le=599)
    type: str | None = None
    code: str | None = None
    message: str = "This failure was scripted."
    headers: dict[str, str] = Field(default_factory=dict)
    body: object = None
    """The whole body, in place of the wire format's own error; text or JSON."""
    error_after_events: int | None = Field(default=None, ge=0)
    """So many events of the stream come, then the wire format's error event."""
    cut_after_events: int | None = Field(default=None, ge=0)
    """So many events come, then the connection ends."""
    cut_after_bytes: int | None = Field(default=None, ge=0)
    """So many bytes of the body come, then the connection ends."""

    @model_validator(mode="after")
    def _fails_in_one_way(self) -> Self:
        ways = (self.status, self.error_after_events, self.cut_after_events, self.cut_after_bytes)
        if sum(way is not None for way in ways) != 1:
            raise ValueError(
                "a fault has one of status, error_after_events, cut_after_events, cut_after_bytes"
            )
        return self


class Turn(_Part):
    """What the model says once."""

    text: str = ""
    thinking: str = ""
    calls: list[ToolCall] = Field(default_factory=list[ToolCall])
    usage: Usage | None = None
    stop: Literal["done", "max_tokens", "refusal"] = "done"
    delay: float = Field(default=0, ge=0)
    """Seconds before the first byte."""
    pace: float = Field(default=0, ge=0)
    """Seconds between two events of a stream."""
    chunk: int = Field(default=40, ge=1)
    """Characters in each piece of streamed text."""
    headers: dict[str, str] = Field(default_factory=dict)
    repeat: Times = 1
    faults: list[Fault] = Field(default_factory=list[Fault])

    @field_validator("repeat")
    @classmethod
    def _repeats_at_least_once(cls, times: Times) -> Times:
        if times != FOREVER and int(times) < 1:
            raise ValueError("repeat is 1 or more, or forever")
        return times


class When(_Part):
    """Which conversations are meant: all that is given must fit."""

    prompt: str | None = None
    """A regular expression found in something that the user said."""
    system: str | None = None
    model: str | None = None
    key: str | None = None
    """Found in the API key that the request came with."""
    tools: bool | None = None
    """Whether the request offers tools."""

    @field_validator("prompt", "system", "model", "key")
    @classmethod
    def _is_expression(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return pattern


class Conversation(_Part):
    """The turns of one kind of conversation."""

    when: When = When()
    turns: list[Turn] = Field(min_length=1)
    as_text: str | None = None
    """Write calls into the text, as commands fenced as this language: for agents without tools."""


class Script(_Part):
    """All that a scripted model knows."""

    mode: Literal["conversation", "sequence"] = "conversation"
    models: list[str] = Field(default_factory=lambda: ["scripted"], min_length=1)
    """What the list of models says; requests may name any other."""
    title: str = "A scripted conversation"
    """The answer to requests on the side, such as for a conversation's title."""
    usage: Usage = Usage()
    """Of every turn that has none of its own."""
    conversations: list[Conversation] = Field(default_factory=list[Conversation])
    turns: list[Turn] = Field(default_factory=list[Turn])
    """Those of any conversation that no other entry is about."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.turns and not self.conversations:
            raise ValueError("a script has turns or conversations")
        if self.mode == "sequence" and self.conversations:
            raise ValueError("in sequence, a script has turns and no conversations")
        return self

    @property
    def all_conversations(self) -> list[Conversation]:
        """In the order in which they are tried."""
        return [*self.conversations, *([Conversation(turns=self.turns)] if self.turns else [])]


def load_script(path: Path) -> Script:
    """The script in a file.

    Raises:
        ScriptInvalid: It cannot be read, or is none.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ScriptInvalid(f"{path}: {error}") from error
    return parse_script(text, name=str(path))


def parse_script(text: str, *, name: str = "the script") -> Script:
    """The script in a text.

    Raises:
        ScriptInvalid: It is none; the detail says where.
    """
    try:
        return Script.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ScriptInvalid(f"{name} is no YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in each['loc']) or 'top'}: {each['msg']}"
            for each in error.errors()
        )
        raise ScriptInvalid(f"{name}: {problems}") from error

"""What a tool is, and how it is called: shapes checked, errors told, results bounded."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog
from pydantic import BaseModel, ValidationError

from agentvine.http.deps import check_permission
from agentvine.kit.errors import AppError
from agentvine.mcp.calls import PersonCall, RunCall

MAX_RESULT = 20_000
"""Characters of a result; a model's context is dear."""
_MAX_PROBLEMS = 10
_CUT = "\n[{count} more characters are left out. {how}]"
_BUG = "AgentVine failed at this; nothing was changed. Go on without it, and mention it at the end."

log = structlog.get_logger(__name__)

Shape: TypeAlias = type[BaseModel]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture for a model to look at, and a line about it."""

    text: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTool:
    """A tool for agents: what it takes, whose docstring says what it is for, and what it does."""

    name: str
    takes: Shape
    do: Callable[[RunCall, Any], Awaitable[str | Picture]]
    is_read_only: bool = False
    how_to_get_more: str = "Ask for less at a time."


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonTool:
    """A tool for people's own assistants; it needs what the route of the same deed needs."""

    name: str
    takes: Shape
    scope: str
    do: Callable[[PersonCall, Any], Awaitable[str | Picture]]
    is_read_only: bool = False
    how_to_get_more: str = "Ask for less at a time."


Tool: TypeAlias = RunTool | PersonTool


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a call."""

    text: str
    is_error: bool = False
    picture: Picture | None = None


class Toolbox:
    """All tools, by whom they are for."""

    def __init__(self, for_runs: Sequence[RunTool], for_people: Sequence[PersonTool]) -> None:
        """Offer these."""
        self.for_runs: Mapping[str, RunTool] = {tool.name: tool for tool in for_runs}
        self.for_people: Mapping[str, PersonTool] = {tool.name: tool for tool in for_people}

    def offered(self, call: RunCall | PersonCall) -> Mapping[str, Tool]:
        """The tools that a caller sees."""
        return self.for_runs if isinstance(call, RunCall) else self.for_people

    async def use(
        self, call: RunCall | PersonCall, name: str, given: Mapping[str, Any] | None
    ) -> Done:
        """Call a tool; what is wrong is told, with what to do about it."""
        tool = self.offered(call).get(name)
        if tool is None:
            return Done(
                f"There is no tool {name!r}; there are: {', '.join(self.offered(call))}.", True
            )
        try:
            told = await _do(tool, call, tool.takes.model_validate(dict(given or {})))
        except ValidationError as error:
            return Done(_problems(error), is_error=True)
        except AppError as error:
            return Done(f"{error.title}: {error.detail} ({error.code})", is_error=True)
        except Exception:  # lint: allow AV007 (the last resort of a tool, as of a route)
            log.exception("tool.failed", tool=name)
            return Done(_BUG, is_error=True)
        if isinstance(told, Picture):
            return Done(told.text, picture=told)
        return Done(_bounded(told, tool.how_to_get_more))


async def _do(tool: Tool, call: RunCall | PersonCall, given: BaseModel) -> str | Picture:
    if isinstance(tool, RunTool):
        assert isinstance(call, RunCall), "it was offered to a run"
        return await tool.do(call, given)
    assert isinstance(call, PersonCall), "it was offered to a person"
    check_permission(call.actor, tool.scope)
    return await tool.do(call, given)


def description_of(tool: Tool) -> str:
    """What a model is told that the tool is for."""
    return " ".join((tool.takes.__doc__ or "").split())


def schema_of(tool: Tool) -> dict[str, Any]:
    """What the tool takes, as JSON Schema."""
    schema = tool.takes.model_json_schema()
    return {name: value for name, value in schema.items() if name not in {"title", "description"}}


def _problems(error: ValidationError) -> str:
    told = [
        f"{'.'.join(map(str, each['loc'])) or 'input'}: {each['msg'].removeprefix('Value error, ')}"
        for each in error.errors(include_url=False, include_input=False)[:_MAX_PROBLEMS]
    ]
    return f"The input is not right: {'; '.join(told)}. Correct it and call again."


def _bounded(text: str, how: str) -> str:
    if len(text) <= MAX_RESULT:
        return text
    return text[:MAX_RESULT] + _CUT.format(count=len(text) - MAX_RESULT, how=how)

"""The frame of protocols over JSON-RPC: requests with numbers, answers to them, notifications."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from agentvine.runtimes.agent import NOTHING, Step

METHOD_NOT_FOUND = -32601
AUTH_REQUIRED = -32000
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RemoteError:
    """Why the agent could not do what it was asked."""

    code: int
    text: str
    """All that it says about it, for people."""
    raw: str
    """All that it says about it."""


@dataclass(slots=True)
class Dialogue:
    """Both sides' requests: what follows an answer, and who is told of the agent's messages."""

    on_request: Callable[[int | str, str, Json], Step]
    """Takes the number of a request of the agent's, its method and its parameters."""
    on_notification: Callable[[str, Json], Step]
    _count: int = 0
    _waiting: dict[int, Callable[[Json], Step]] = field(
        default_factory=dict[int, Callable[[Json], Step]]
    )

    def ask(self, method: str, params: Json, react: Callable[[Json], Step]) -> Step:
        """Send the agent a request; ``react`` is told its answer, be it an error."""
        self._count += 1
        self._waiting[self._count] = react
        return Step(send=[_line({"id": self._count, "method": method, "params": params})])

    def take(self, line: str) -> Step:
        """What follows one line of the agent's.

        Raises:
            ValueError: It begins like a message, and is none.
        """
        message = _parse(line)
        if message is None:
            return NOTHING
        method, number = message.get("method"), message.get("id")
        if method is None:
            react = self._waiting.pop(number, None) if isinstance(number, int) else None
            return react(message) if react is not None else NOTHING
        params = cast("Json", message.get("params") or {})
        if number is None:
            return self.on_notification(str(method), params)
        return self.on_request(number, str(method), params)


def notification(method: str, params: Json) -> str:
    """A notification as a line."""
    return _line({"method": method, "params": params})


def answer(number: int | str, result: Json) -> str:
    """The answer to a request of the agent's, as a line."""
    return _line({"id": number, "result": result})


def refusal(number: int | str, code: int, message: str) -> str:
    """The answer to a request that we do not serve, as a line."""
    return _line({"id": number, "error": {"code": code, "message": message}})


def _parse(line: str) -> Json | None:
    """One message; None for a line that is none, such as a banner.

    Raises:
        ValueError: It begins like a message, and is none.
    """
    if not line.lstrip().startswith("{"):
        return None
    return cast("Json", json.loads(line))


def error_of(message: Json) -> RemoteError | None:
    """The error in an answer, if it is one."""
    error = message.get("error")
    if error is None:
        return None
    told, data = str(error.get("message") or "It gave no reason."), error.get("data")
    more = ""
    if isinstance(data, str):
        more = data
    elif isinstance(data, dict):
        # Each puts the provider's own words somewhere else.
        found = cast("Json", data)
        named = (found.get(key) for key in ("message", "details", "error"))
        more = next((each for each in named if isinstance(each, str) and each), "")
    text = told if not more or more in told else f"{told}: {more}"
    return RemoteError(int(error.get("code") or 0), text[:2000], json.dumps(error))


def _line(message: Json) -> str:
    return json.dumps({"jsonrpc": "2.0", **message}, ensure_ascii=False)

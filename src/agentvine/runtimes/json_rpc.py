"""The frame of protocols over JSON-RPC: requests with numbers, answers to them, notifications."""

import json
from dataclasses import dataclass
from typing import Any, cast

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


def request(number: int, method: str, params: Json) -> str:
    """A request as a line."""
    return _line({"id": number, "method": method, "params": params})


def notification(method: str, params: Json) -> str:
    """A notification as a line."""
    return _line({"method": method, "params": params})


def answer(number: int | str, result: Json) -> str:
    """The answer to a request of the agent's, as a line."""
    return _line({"id": number, "result": result})


def refusal(number: int | str, code: int, message: str) -> str:
    """The answer to a request that we do not serve, as a line."""
    return _line({"id": number, "error": {"code": code, "message": message}})


def parse(line: str) -> Json | None:
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

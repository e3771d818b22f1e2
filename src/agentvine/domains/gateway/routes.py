"""The addresses of the gateway, and the key that comes with a request."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlencode

from agentvine.domains.gateway.keys import KeyInvalid
from agentvine.domains.gateway.wires.anthropic import AnthropicMessages
from agentvine.domains.gateway.wires.gemini import Gemini
from agentvine.domains.gateway.wires.openai_chat import OpenAiChat
from agentvine.domains.gateway.wires.openai_responses import OpenAiResponses
from agentvine.domains.gateway.wires.wire import Wire

PREFIX = "/gateway"


class Operation(StrEnum):
    """What is asked for."""

    ANSWER = "answer"
    COUNT = "count"
    """How many tokens a request has; costs nothing."""
    MODELS = "models"


@dataclass(frozen=True, slots=True)
class Route:
    """What an address means."""

    wire: Wire
    operation: Operation
    method: str
    target: str
    """The path below a provider's address, for all but answers."""
    rest: str = ""
    """``model:method``, where the address has it."""


ANTHROPIC, GEMINI = AnthropicMessages(), Gemini()
CHAT, RESPONSES = OpenAiChat(), OpenAiResponses()
_FIXED = {
    "/anthropic/v1/messages": Route(ANTHROPIC, Operation.ANSWER, "POST", "/v1/messages"),
    "/anthropic/v1/messages/count_tokens": Route(
        ANTHROPIC, Operation.COUNT, "POST", "/v1/messages/count_tokens"
    ),
    "/anthropic/v1/models": Route(ANTHROPIC, Operation.MODELS, "GET", "/v1/models"),
    "/openai/v1/chat/completions": Route(CHAT, Operation.ANSWER, "POST", "/chat/completions"),
    "/openai/v1/responses": Route(RESPONSES, Operation.ANSWER, "POST", "/responses"),
    "/openai/v1/models": Route(CHAT, Operation.MODELS, "GET", "/models"),
    "/gemini/v1beta/models": Route(GEMINI, Operation.MODELS, "GET", "/v1beta/models"),
}
_GEMINI_MODELS = "/gemini/v1beta/models/"
_GEMINI_METHODS = {
    "generateContent": Operation.ANSWER,
    "streamGenerateContent": Operation.ANSWER,
    "countTokens": Operation.COUNT,
}
_KEY_HEADERS = (b"x-api-key", b"x-goog-api-key")


def route_of(path: str) -> Route | None:
    """What a path below the gateway's means; None where it means nothing."""
    found = _FIXED.get(path)
    if found is not None or not path.startswith(_GEMINI_MODELS):
        return found
    rest = path.removeprefix(_GEMINI_MODELS)
    model, _, method = rest.rpartition(":")
    operation = _GEMINI_METHODS.get(method)
    if operation is None or not model or "/" in model:
        return None
    return Route(GEMINI, operation, "POST", "", rest)


def wire_for_errors(path: str) -> Wire:
    """The language in which to refuse what is at an address that means nothing."""
    if path.startswith("/anthropic"):
        return ANTHROPIC
    return GEMINI if path.startswith("/gemini") else CHAT


def key_of(headers: Iterable[tuple[bytes, bytes]], query: str) -> str:
    """The one key of a request, in whichever of its forms.

    Raises:
        KeyInvalid: There is none, or there are several that differ.
    """
    found: set[str] = set()
    for name, value in headers:
        if name in _KEY_HEADERS:
            found.add(value.decode("latin-1").strip())
        elif name == b"authorization":
            scheme, _, text = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                found.add(text.strip())
    found |= {value for name, value in parse_qsl(query) if name == "key"}
    found.discard("")
    if len(found) != 1:
        raise KeyInvalid(
            "Send the run's key as `Authorization: Bearer`, `x-api-key` or `x-goog-api-key`."
            if not found
            else "Send one key, not several."
        )
    return found.pop()


def query_without_key(query: str) -> str:
    """What of a query is passed on."""
    if "key" not in query:
        return query
    kept = [(name, value) for name, value in parse_qsl(query, True) if name != "key"]
    return urlencode(kept)


def path_of(raw: str) -> str:
    """An address as it is compared."""
    return unquote(raw) if "%" in raw else raw

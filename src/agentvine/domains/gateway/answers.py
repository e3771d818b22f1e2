"""What callers are told: refusals in their own language, providers' errors without secrets."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp

from agentvine.domains.gateway.wires.asked import Asked
from agentvine.domains.gateway.wires.wire import Wire
from agentvine.domains.usage.errors import BudgetExceeded
from agentvine.http.problems import status_of
from agentvine.kit.errors import AppError, Internal
from agentvine.kit.redaction import mask_shapes

Headers = list[tuple[bytes, bytes]]

_NO_MONEY = 402
"""The one status that every agent's CLI shows to its user, and does not try again."""
_MAX_ERROR_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of the gateway's own."""

    status: int
    headers: Headers
    body: bytes


def refusal(wire: Wire, error: AppError) -> Answer:
    """An error, as the caller's client shows it and does not try again."""
    status = _NO_MONEY if isinstance(error, BudgetExceeded) else status_of(type(error))
    facts: dict[str, Any] = {"reason": error.code}
    if error.extra:
        facts["facts"] = {name: _plain(value) for name, value in error.extra.items()}
    body = wire.error_body(status, error.code, f"AgentVine: {error.title}. {error.detail}", facts)
    headers = _headers(is_final=error.permanent or isinstance(error, BudgetExceeded))
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, round(error.retry_after))).encode()))
    return _answer(status, headers, body)


def bug(wire: Wire) -> Answer:
    """What a caller learns of a bug of ours."""
    error = Internal("The server's log has the details.")
    return refusal(wire, error)


def listed(body: Mapping[str, Any]) -> Answer:
    """A list of the gateway's own."""
    return _answer(200, [], body)


def notes_for_caller(asked: Asked, limit: int | None, request_id: str) -> Headers:
    """What was changed in a request, told beside its answer."""
    notes = [(b"x-agentvine-request", request_id.encode())]
    if limit is not None:
        notes.append((b"x-agentvine-limited-to", str(limit).encode()))
    if asked.removed:
        removed = ",".join(asked.removed).encode("ascii", "replace")
        notes.append((b"x-agentvine-removed-tools", removed[:500].replace(b"\n", b" ")))
    return notes


async def error_text(response: aiohttp.ClientResponse, key: str | None) -> bytes:
    """The body of a provider's error, without the provider's key; what came, where it broke off."""
    body = bytearray()
    with suppress(aiohttp.ClientError, OSError):
        while len(body) < _MAX_ERROR_BYTES and (chunk := await response.content.readany()):
            body += chunk
    text = body.decode("utf-8", "replace")
    if key:
        text = text.replace(key, "[removed]")
    return mask_shapes(text).encode()


def _answer(status: int, headers: Headers, body: Mapping[str, Any]) -> Answer:
    text = json.dumps(body, ensure_ascii=False).encode()
    headers += [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(text)).encode()),
        (b"cache-control", b"no-store"),
    ]
    return Answer(status, headers, text)


def _headers(*, is_final: bool) -> Headers:
    # Anthropic's clients ask this before they ask the status.
    return [(b"x-should-retry", b"false" if is_final else b"true")]


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Decimal) else value

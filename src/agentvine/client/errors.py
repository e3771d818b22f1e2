"""From problem documents back to the error tree of ``kit.errors``."""

from functools import lru_cache
from typing import Any

import httpx2
from pydantic import ValidationError

from agentvine.kit.errors import (
    AppError,
    Conflict,
    Forbidden,
    Internal,
    Invalid,
    LimitReached,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from agentvine.protocol.base import Problem

_CATEGORIES: dict[int, type[AppError]] = {
    400: Invalid,
    401: Unauthenticated,
    402: LimitReached,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: TooLarge,
    422: Invalid,
    426: Forbidden,
    428: Conflict,
    429: LimitReached,
    500: Internal,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
_MAX_TEXT = 300


class ApiError(AppError):
    """The server refused the request."""

    status: int = 0
    """The HTTP status of the answer."""


class ServerUnreachable(Unavailable):
    """The AgentVine server cannot be reached."""

    code = "server_unreachable"


class NotAnAgentVineServer(Unavailable):
    """Something else than AgentVine answers at this address."""

    code = "not_an_agentvine_server"


def error_from_response(response: httpx2.Response) -> AppError:
    """The error a response with a status of 400 or more stands for; its body must be read."""
    problem = _parse_problem(response)
    if problem is None:
        return _error_without_problem(response)
    extra: dict[str, Any] = dict(problem.model_extra or {})
    if problem.instance:
        extra["instance"] = problem.instance
    retry_after = _seconds(response.headers.get("retry-after")) or _seconds(
        extra.pop("retry_after", None)
    )
    category = _category(response.status_code)
    error_class = _error_class(category, problem.code, problem.title)
    error = error_class(problem.detail, retry_after=retry_after, **_keyword_safe(extra))
    error.status = response.status_code
    return error


def error_from_transport(error: httpx2.HTTPError, base_url: str) -> ServerUnreachable:
    """What a refused, reset or timed-out connection means to the caller."""
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout):
        return ServerUnreachable(
            f"No AgentVine server answers at {base_url} ({reason}). Start one with `agentvine up`, "
            "or name another with --server or AGENTVINE_SERVER_URL.",
            url=base_url,
        )
    return ServerUnreachable(
        f"The connection to {base_url} broke before the answer came ({reason}). Try again.",
        url=base_url,
    )


@lru_cache(maxsize=512)
def _error_class(category: type[AppError], code: str, title: str) -> type[ApiError]:
    # The tree keeps code and title on the class, so an error that came over the wire gets a class
    # of its own: `except NotFound` and `error.code` then work as if it had been raised here.
    return type(
        f"Api{category.__name__}",
        (ApiError, category),
        {
            "code": code,
            "__doc__": title,
            "__module__": __name__,
            "permanent": category.permanent,
        },
    )


def _category(status: int) -> type[AppError]:
    return _CATEGORIES.get(status, Internal if status >= 500 else Invalid)


def _parse_problem(response: httpx2.Response) -> Problem | None:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:
        return None


def _error_without_problem(response: httpx2.Response) -> AppError:
    # A proxy in front of a stopped server answers 502 or 504 in its own words.
    text = " ".join(response.text.split())[:_MAX_TEXT]
    url = str(response.request.url)
    category = _category(response.status_code)
    if issubclass(category, Unavailable):
        return ServerUnreachable(f"{url} answered {response.status_code}: {text}", url=url)
    return NotAnAgentVineServer(
        f"{url} answered {response.status_code} without a problem document: {text}", url=url
    )


def _keyword_safe(extra: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in extra.items() if name not in ("self", "detail")}


def _seconds(value: object) -> float | None:
    try:
        return float(str(value)) if value is not None else None
    except ValueError:
        return None

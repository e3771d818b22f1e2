"""RFC 9457 problems: the one mapping from error categories to HTTP."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import Request
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm.exc import StaleDataError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

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
    title_of,
)
from agentvine.protocol.base import ProtocolUnsupported

CONTENT_TYPE = "application/problem+json"
_TYPE = "urn:agentvine:error:"
_CATEGORIES: tuple[tuple[type[AppError], int], ...] = (
    (Invalid, 422),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (TooLarge, 413),
    (LimitReached, 429),
    (Unavailable, 503),
    (Internal, 500),
)
_SCHEMA = {"$ref": "#/components/schemas/Problem"}
DATABASE_DOWN = (OperationalError, InterfaceError, PoolTimeout, ConnectionError)
"""What is raised where the database does not answer."""

log = structlog.get_logger(__name__)


class RouteUnknown(NotFound):
    """There is nothing at this address."""

    code = "route_unknown"


class MethodNotAllowed(Invalid):
    """This address does not take this method."""

    code = "method_not_allowed"


class BodyTooLarge(TooLarge):
    """The request is too large."""

    code = "body_too_large"


class BodyUnreadable(Invalid):
    """The request cannot be read."""

    code = "body_unreadable"


class ContentTypeUnsupported(Invalid):
    """The body's content type is not taken here."""

    code = "content_type_unsupported"


class DatabaseUnavailable(Unavailable):
    """The database does not answer."""

    code = "database_unavailable"


class StaleRow(Conflict):
    """Somebody changed this at the same moment."""

    code = "stale_row"


_OWN_STATUS: dict[type[AppError], int] = {
    BodyUnreadable: 400,
    MethodNotAllowed: 405,
    ContentTypeUnsupported: 415,
    ProtocolUnsupported: 426,
}
_MAX_LISTED = 50
_MAX_POINTER_PART = 200


def install(app: Starlette) -> None:
    """Render every error of the app as a problem; ``render_bug`` is for what is left."""
    app.add_exception_handler(AppError, _on_app_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for kind in DATABASE_DOWN:
        app.add_exception_handler(kind, _on_database_down)
    app.add_exception_handler(StaleDataError, _on_stale_row)


def status_of(error: type[AppError]) -> int:
    """The HTTP status of an error: its own where HTTP has a better one, else its category's."""
    own = _OWN_STATUS.get(error)
    return own or next(status for category, status in _CATEGORIES if issubclass(error, category))


def responses(*errors: type[AppError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries for the errors a route can raise."""
    listed: dict[int | str, dict[str, Any]] = {}
    for error in errors:
        entry = listed.setdefault(
            status_of(error), {"description": "", "content": {CONTENT_TYPE: {"schema": _SCHEMA}}}
        )
        line = f"`{error.code}`: {title_of(error)}."
        entry["description"] = f"{entry['description']}\n{line}".strip()
    return listed


def render(request: Request, error: AppError, *, status: int | None = None) -> JSONResponse:
    """The problem document of an error; ``status`` outranks the error's own."""
    status = status or status_of(type(error))
    body: dict[str, Any] = {
        # The facts of an error cannot take the place of what every problem has.
        **{name: jsonable_encoder(value) for name, value in error.extra.items()},
        "type": f"{_TYPE}{error.code}",
        "title": error.title,
        "status": status,
        "detail": error.detail,
        "instance": str(getattr(request.state, "request_id", "")) or None,
        "code": error.code,
    }
    headers = _headers(error)
    return JSONResponse(body, status_code=status, headers=headers, media_type=CONTENT_TYPE)


def _headers(error: AppError) -> Mapping[str, str]:
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return headers


async def _on_app_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AppError)
    return render(request, error)


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(item["loc"] == ("body",) for item in found) and not _is_json(request):
        return render(
            request, ContentTypeUnsupported("Send JSON, with `Content-Type: application/json`.")
        )
    listed = [
        {
            "pointer": "".join(f"/{_escaped(part)}" for part in item["loc"]),
            "detail": str(item["msg"]).removeprefix("Value error, "),
        }
        for item in found[:_MAX_LISTED]
    ]
    first = listed[0]
    return render(request, Invalid(f"{first['pointer']}: {first['detail']}", errors=listed))


def _is_json(request: Request) -> bool:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _escaped(part: object) -> str:
    # RFC 6901; a field's name is the client's, and may be as long as its body.
    return str(part)[:_MAX_POINTER_PART].replace("~", "~0").replace("/", "~1")


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return render(request, RouteUnknown(f"{request.url.path} is not part of this API."))
    if error.status_code == 405:
        response = render(
            request, MethodNotAllowed(f"{request.url.path} does not take {request.method}.")
        )
        response.headers.update(error.headers or {})
        return response
    if error.status_code == 413:
        return render(request, BodyTooLarge(str(error.detail)))
    return render(request, BodyUnreadable(str(error.detail)), status=error.status_code)


async def _on_database_down(request: Request, error: Exception) -> JSONResponse:
    return render(request, database_down(request, error))


def database_down(request: Request, error: Exception) -> DatabaseUnavailable:
    """The error for a database that does not answer; what it said is logged."""
    log.warning("database.unavailable", path=request.url.path, error=type(error).__name__)
    return DatabaseUnavailable("Nothing was changed; try again in a few seconds.", retry_after=5)


async def _on_stale_row(request: Request, _error: Exception) -> JSONResponse:
    return render(request, StaleRow("Read it again and repeat your change."))


def too_large(limit: int) -> BodyTooLarge:
    """The error for a body of more than ``limit`` bytes."""
    return BodyTooLarge(f"A request may take {limit} bytes; send less at once.", limit=limit)


def stop_reading(error: BodyTooLarge) -> HTTPException:
    """The same, to be raised while a body is read: FastAPI takes any other for bad JSON."""
    return HTTPException(status_of(type(error)), error.detail)


def render_bug(request: Request) -> JSONResponse:
    """What a client learns of a bug of ours: the id under which the log has the rest."""
    return render(
        request,
        Internal("The server's log has the details under this request's id. Nothing was changed."),
    )

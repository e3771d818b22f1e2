"""What every page has in common: who looks, from where a form may come, headers, errors.

A page is plain ASGI beside the API's routes: the API takes no cookies, and pages no tokens.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import parse_qsl, quote, urlsplit

import structlog
from starlette.exceptions import HTTPException  # lint: allow AV023 (caught alone)
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agentvine.domains.identity.sessions import LONGEST, SignedIn, find_signed_in
from agentvine.http.problems import DATABASE_DOWN, database_down, status_of
from agentvine.http.state import HttpState
from agentvine.kit.actor import UserActor
from agentvine.kit.errors import AppError, Forbidden, Invalid
from agentvine.web.rendering import html

SIGN_IN = "/sign-in"
HOME = "/inbox"
_COOKIE = "agentvine_session"
_OURS = re.compile(r"/(inbox|questions/[0-9a-f-]{36})(\?[\w=&.%-]*)?", re.ASCII)
"""Where one may be led after signing in: nowhere else."""
_SAFE = frozenset({"GET", "HEAD"})
_MAX_FIELDS = 200
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
        "img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # With none at all, browsers would hide from us that a form is our own.
    "Referrer-Policy": "same-origin",
}

log = structlog.get_logger(__name__)


class ForeignForm(Forbidden):
    """This form was not sent from a page of ours."""

    code = "foreign_form"


class FormUnreadable(Invalid):
    """The form cannot be read."""

    code = "form_unreadable"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a browser, and who is signed in there."""

    request: Request
    state: HttpState
    signed_in: SignedIn | None

    @property
    def actor(self) -> UserActor:
        """Who looks, at a page for those who are signed in."""
        assert self.signed_in is not None, "the page lets in only who is signed in"
        return self.signed_in.actor

    async def form(self) -> dict[str, list[str]]:
        """What was filled in, by the fields' names.

        Raises:
            FormUnreadable: It is none, or has too many fields.
        """
        body = await self.request.body()
        try:
            pairs = parse_qsl(
                body.decode("ascii"),
                keep_blank_values=True,
                errors="strict",
                max_num_fields=_MAX_FIELDS,
            )
        except ValueError:
            raise FormUnreadable("Go back, and send it again.") from None
        found: dict[str, list[str]] = {}
        for name, value in pairs:
            if "\0" in value:
                raise FormUnreadable("Leave out the NUL character.")
            # Browsers end lines in forms by both.
            found.setdefault(name, []).append(value.replace("\r\n", "\n"))
        return found


Page = Callable[[Visit], Awaitable[Response]]


def page(path: str, handler: Page, *, method: str = "GET", is_public: bool = False) -> Route:
    """A page, or what takes its form; only who is signed in gets to it, unless it is public."""
    return Route(path, _Endpoint(handler, is_public=is_public), methods=[method])


def see(path: str) -> Response:
    """Lead on to a page, after a form or before it."""
    return RedirectResponse(path, status_code=303)


def place_to_go(wanted: str) -> str:
    """Where to go after signing in: a page of ours, whatever the address says."""
    return wanted if _OURS.fullmatch(wanted) else HOME


def remember(request: Request, response: Response, text: str) -> None:
    """Have the browser keep who it is."""
    response.set_cookie(
        _cookie_of(request),
        text,
        max_age=int(LONGEST.total_seconds()),
        path="/",
        secure=_is_secret(request),
        httponly=True,
        samesite="lax",
    )


def forget(request: Request, response: Response) -> None:
    """Have the browser forget it."""
    response.delete_cookie(
        _cookie_of(request),
        path="/",
        secure=_is_secret(request),
        httponly=True,
        samesite="lax",
    )


class _Endpoint:
    """Raw ASGI, so that Starlette takes all methods' answers from here."""

    def __init__(self, handler: Page, *, is_public: bool) -> None:
        self._handler = handler
        self._is_public = is_public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except AppError as error:
            response = error_page(error)
        except HTTPException as error:  # the body is too large
            response = error_page(FormUnreadable(error.detail), status=error.status_code)
        except DATABASE_DOWN as error:
            response = error_page(database_down(request, error))
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        _check_is_ours(request)
        state = cast("HttpState", request.app.state.agentvine)
        text = request.cookies.get(_cookie_of(request))
        found = await find_signed_in(state.database, text) if text else None
        if found is None and not self._is_public:
            return _sign_in_first(request)
        return await self._handler(Visit(request, state, found))


def error_page(error: AppError, *, status: int | None = None) -> Response:
    """An error as a page: what is wrong, and what to do."""
    return html("error.html", status=status or status_of(type(error)), error=error, visitor=None)


def _sign_in_first(request: Request) -> Response:
    here = request.url.path
    if request.url.query:
        here += f"?{request.url.query}"
    # What was filled in is lost; the form is still there when one comes back.
    return see(f"{SIGN_IN}?to={quote(place_to_go(here), safe='')}")


def _check_is_ours(request: Request) -> None:
    """Refuse forms that another site has a browser send: the cookie would go along.

    Raises:
        ForeignForm: It comes from elsewhere, or does not say from where.
    """
    if request.method in _SAFE:
        return
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        is_ours = site == "same-origin"
    else:
        # Browsers leave it out where the connection is not encrypted.
        origin = urlsplit(request.headers.get("origin", ""))
        is_ours = bool(origin.netloc) and origin.netloc == request.headers.get("host")
    if not is_ours:
        log.warning("page.foreign_form", path=request.url.path)
        raise ForeignForm("Open the page here, and send it from there.")


def _cookie_of(request: Request) -> str:
    # The prefix has browsers refuse one that a neighbour under the same domain has set.
    return f"__Host-{_COOKIE}" if _is_secret(request) else _COOKIE


def _is_secret(request: Request) -> bool:
    return request.url.scheme == "https"

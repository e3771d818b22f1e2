"""Signing in with a name and a password, and out again."""

from pydantic import ValidationError
from starlette.responses import Response

from agentvine.domains.identity import queries, sessions
from agentvine.domains.identity.errors import CredentialsWrong, PasswordsBusy, TooManyAttempts
from agentvine.domains.identity.signing_in import note_sign_in, prove_password
from agentvine.http.problems import status_of
from agentvine.kit.errors import AppError, Invalid
from agentvine.protocol.identity import LoginIn
from agentvine.web.app import SIGN_IN, Visit, forget, place_to_go, remember, see
from agentvine.web.rendering import html


class NotFilledIn(Invalid):
    """Something is missing."""

    code = "not_filled_in"


async def show(visit: Visit) -> Response:
    """The form; whoever is signed in already goes on."""
    to = place_to_go(visit.request.query_params.get("to", ""))
    return see(to) if visit.signed_in else _form(to)


async def submit(visit: Visit) -> Response:
    """Let the browser in, or say what is wrong."""
    form = await visit.form()
    to = place_to_go(form.get("to", [""])[0])
    name, password = form.get("username", [""])[0].strip(), form.get("password", [""])[0]
    try:
        text = await _open_session(visit, name, password)
    except (NotFilledIn, CredentialsWrong, TooManyAttempts, PasswordsBusy) as error:
        return _form(to, username=name, error=error)
    answer = see(to)
    remember(visit.request, answer, text)
    return answer


async def sign_out(visit: Visit) -> Response:
    """Let the browser out."""
    assert visit.signed_in is not None, "who is not signed in is asked to"
    async with visit.state.database.transaction(visit.actor) as tx:
        await sessions.end_session(tx, visit.signed_in.session_id)
    answer = see(SIGN_IN)
    forget(visit.request, answer)
    return answer


async def _open_session(visit: Visit, name: str, password: str) -> str:
    database, request = visit.state.database, visit.request
    try:
        shown = LoginIn.model_validate({"username": name, "password": password})
    except ValidationError:
        raise NotFilledIn("Type your user name and your password.") from None
    rounds = visit.state.settings.bcrypt_rounds
    user = await prove_password(database, shown, bcrypt_rounds=rounds)
    async with database.transaction(queries.acting_as(user)) as tx:
        await note_sign_in(tx, user, shown)
        return await sessions.open_session(
            tx,
            user,
            user_agent=request.headers.get("user-agent"),
            address=request.client.host if request.client else None,
        )


def _form(to: str, *, username: str = "", error: AppError | None = None) -> Response:
    status = 200 if error is None else status_of(type(error))
    return html("sign_in.html", status=status, to=to, username=username, error=error, visitor=None)

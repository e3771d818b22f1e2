"""Where each page is."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from agentvine.http.problems import RouteUnknown
from agentvine.web.app import HOME, SIGN_IN, Visit, page, see
from agentvine.web.pages import inbox, question, sign_in
from agentvine.web.rendering import STATIC, static_file

_YEAR = "public, max-age=31536000, immutable"


def page_routes() -> list[BaseRoute]:
    """What an application answers to browsers."""
    of_question = "/questions/{question_id:uuid}"
    return [
        page("/", _home, is_public=True),
        page(SIGN_IN, sign_in.show, is_public=True),
        page(SIGN_IN, sign_in.submit, method="POST", is_public=True),
        page("/sign-out", sign_in.sign_out, method="POST"),
        page(HOME, inbox.show),
        page("/inbox/list", inbox.show_list),
        page("/inbox/changes", inbox.follow),
        page(of_question, question.show),
        page(f"{of_question}/answer", question.answer, method="POST"),
        page(f"{of_question}/attachments/{{chat_file_id:uuid}}", question.save_file),
        Route("/static/{name}", _static, methods=["GET"]),
    ]


async def _home(_: Visit) -> Response:
    return see(HOME)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC:
        raise RouteUnknown("There is no such file.")
    return Response(static_file(name), media_type=STATIC[name], headers={"Cache-Control": _YEAR})

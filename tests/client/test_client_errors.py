import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agentvine.client import Client, NotAnAgentVineServer, RetryPolicy, ServerUnreachable
from agentvine.client.errors import ApiError
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
from agentvine.kit.ids import new_id
from tests.support.http import free_port, serve

ONCE = RetryPolicy(attempts=1)


def problem(status: int, code: str = "some_code", **extra: object) -> Response:
    body = {"type": "about:blank", "title": "A title", "status": status, "detail": "A detail."}
    return JSONResponse(
        {**body, "code": code, **extra}, status, media_type="application/problem+json"
    )


def answering(response: Response) -> Starlette:
    async def answer(_: Request) -> Response:
        return response

    return Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (401, Unauthenticated),
        (402, LimitReached),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (412, Conflict),
        (413, TooLarge),
        (418, Invalid),
        (422, Invalid),
        (429, LimitReached),
        (500, Internal),
        (503, Unavailable),
    ],
)
async def test_a_problem_becomes_the_error_of_its_category(status: int, category: type[AppError]):
    with serve(answering(problem(status, "the_code", task_id="t-1"))) as url:
        async with Client(url, retry=ONCE) as client:
            with pytest.raises(category) as caught:
                await client.tasks.get(new_id())
    error = caught.value
    assert isinstance(error, ApiError)
    assert (error.status, error.code, error.title) == (status, "the_code", "A title")
    assert (error.detail, error.extra) == ("A detail.", {"task_id": "t-1"})
    assert error.permanent is category.permanent


async def test_extra_facts_named_like_our_own_arguments_do_no_harm():
    with serve(answering(problem(409, self="x", instance="req-1"))) as url:
        async with Client(url) as client:
            with pytest.raises(Conflict) as caught:
                await client.tasks.get(new_id())
    assert caught.value.extra == {"instance": "req-1"}


async def test_a_server_that_does_not_run_is_named_with_what_to_do():
    url = f"http://127.0.0.1:{free_port()}"
    async with Client(url, retry=ONCE) as client:
        with pytest.raises(ServerUnreachable) as caught:
            await client.auth.whoami()
    assert url in caught.value.detail
    assert "agentvine up" in caught.value.detail


async def test_another_program_at_the_address_is_recognised():
    with serve(answering(PlainTextResponse("hello"))) as url:
        async with Client(url) as client:
            with pytest.raises(NotAnAgentVineServer, match="does not understand"):
                await client.auth.whoami()
    with serve(answering(PlainTextResponse("no such page", 404))) as url:
        async with Client(url) as client:
            with pytest.raises(NotAnAgentVineServer, match="no such page"):
                await client.auth.whoami()


async def test_a_proxy_before_a_stopped_server_counts_as_unreachable():
    with serve(answering(PlainTextResponse("<h1>Bad gateway</h1>", 502))) as url:
        async with Client(url, retry=ONCE) as client:
            with pytest.raises(ServerUnreachable, match="502"):
                await client.auth.whoami()


@pytest.mark.parametrize("url", ["", "127.0.0.1:80", "ftp://host/", "http://"])
def test_an_address_that_is_no_url_is_refused_at_once(url: str):
    with pytest.raises(Invalid, match="AGENTVINE_SERVER_URL"):
        Client(url)

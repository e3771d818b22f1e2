"""What an error looks like on the wire."""

import json

from fastapi import Request

from agentvine.http.problems import render
from agentvine.kit.errors import AppError, Conflict


class AlreadyDone(Conflict):
    """This is done."""

    code = "already_done"


def rendered(error: AppError) -> dict[str, object]:
    request = Request({"type": "http", "method": "GET", "path": "/", "headers": []})
    return json.loads(bytes(render(request, error).body))


def test_the_facts_of_an_error_are_beside_what_every_problem_has():
    problem = rendered(AlreadyDone("It is.", files=["a.py"], current_status="applied"))

    assert problem == {
        "type": "urn:agentvine:error:already_done",
        "title": "This is done",
        "status": 409,
        "detail": "It is.",
        "instance": None,
        "code": "already_done",
        "files": ["a.py"],
        "current_status": "applied",
    }


def test_no_fact_takes_the_place_of_a_member_that_clients_rely_on():
    problem = rendered(AlreadyDone("It is.", status="applied", code="x", title="y", type="z"))

    assert problem["status"] == 409
    assert problem["code"] == "already_done"
    assert problem["title"] == "This is done"
    assert problem["type"] == "urn:agentvine:error:already_done"

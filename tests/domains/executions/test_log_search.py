"""Looking for a text in logs: literal, in any case, page by page, and only where one may look."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert

from agentvine.db.base import table_of
from agentvine.domains.executions.models import ExecutionLog
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.space import Json, Space, WireWorker, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")

MORE_THAN_ONE_REQUEST_READS = 20_050


async def running(api: Api) -> tuple[Space, WireWorker, Json]:
    space = await make_space(api)
    await space.task()
    worker = await space.worker()
    return space, worker, await worker.claim_one()


async def pages(caller: Caller, path: str, **params: Any) -> list[list[Json]]:
    found: list[list[Json]] = []
    while True:
        page = await caller.get(path, params=params)
        found.append(page["items"])
        if page["next_cursor"] is None:
            return found
        params["cursor"] = page["next_cursor"]


async def messages(space: Space, order: Json, text: str, **params: Any) -> list[str]:
    path = f"/executions/{order['execution_id']}/logs/search"
    found = await pages(space.owner, path, text=text, **params)
    return [match["line"]["message"] for page in found for match in page]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("error", ["An ERROR occurred", "error 100%"]),
        ("100%", ["error 100%"]),
        ("a_b", ["a_b"]),
        ("C:\\new", ["in C:\\new"]),
        ("GRÖSSE", ["Größe? größte GRÖSSE"]),
        ("größte", ["Größe? größte GRÖSSE"]),
        ("größex", []),
        ("%", ["error 100%"]),
        (" occurred", ["An ERROR occurred"]),
    ],
)
async def test_a_text_is_taken_literally_and_in_any_case(
    shared_api: Api, text: str, found: list[str]
):
    space, worker, order = await running(shared_api)
    lines = ["An ERROR occurred", "fine", "error 100%", "a_b", "axb", "in C:\\new"]
    await worker.log(order, *lines, "Größe? größte GRÖSSE", "grüüte")
    assert await messages(space, order, text) == found


async def test_pages_hold_each_match_once_and_in_order(shared_api: Api):
    space, worker, order = await running(shared_api)
    await worker.log(order, *(f"{'hit' if n % 3 == 0 else 'miss'} {n}" for n in range(30)))
    expected = [f"hit {n}" for n in range(0, 30, 3)]
    for limit in (1, 3, 10, 50):
        assert await messages(space, order, "HIT", limit=limit) == expected


async def test_lines_around_a_match_come_with_it_across_pages_and_streams(shared_api: Api):
    space, worker, order = await running(shared_api)
    await worker.log(order, "0", "1", "hit 2")
    await worker.log(order, "aside", stream="stderr")
    await worker.log(order, "4", "hit 5", first_seq=4)
    path = f"/executions/{order['execution_id']}/logs/search"

    found = await pages(space.owner, path, text="hit", context=2, limit=1)
    shown = [
        [line["message"] for line in (*match["before"], match["line"], *match["after"])]
        for page in found
        for match in page
    ]
    assert shown == [["0", "1", "hit 2", "aside", "4"], ["aside", "4", "hit 5"]]

    [of_one, *_] = await pages(space.owner, path, text="hit", context=1, stream="stdout")
    assert [line["message"] for line in of_one[0]["after"]] == ["4"]
    assert await messages(space, order, "aside", stream="stdout") == []


async def test_one_request_looks_through_a_bounded_number_of_lines(shared_api: Api):
    space, _, order = await running(shared_api)
    row = {"stream": "stdout", "level": "INFO", "metadata": {}, "logged_at": datetime.now(UTC)}
    row |= {"execution_id": uuid.UUID(order["execution_id"])}
    rows = [
        row | {"seq": number, "message": f"line {number}"}
        for number in range(1, MORE_THAN_ONE_REQUEST_READS + 1)
    ]
    async with shared_api.database.transaction() as tx:
        await tx.execute(insert(table_of(ExecutionLog)), rows)
    path = f"/executions/{order['execution_id']}/logs/search"

    first, second = await pages(space.owner, path, text="line 20049", context=1)
    assert first == [], "and yet it says where to go on"
    [match] = second
    assert match["before"][0]["message"] == "line 20048"


async def test_many_attempts_are_looked_through_the_newest_first(shared_api: Api):
    space, worker, order = await running(shared_api)
    await worker.log(order, "needle one", "needle two")
    await worker.fail(order)
    other = await space.task()
    second = await worker.claim_one()
    await worker.log(second, "needle three")
    params = {"text": "needle", "project_id": space.project_id, "limit": 2}

    found = await pages(space.owner, "/logs/search", **params)
    assert [[match["line"]["message"] for match in page] for page in found if page] == [
        ["needle three", "needle one"],
        ["needle two"],
    ]
    assert found[0][0]["execution_id"] == second["execution_id"]
    assert (found[0][0]["task_id"], found[0][0]["attempt"]) == (other["id"], 1)
    of_task = await pages(space.owner, "/logs/search", text="needle", task_id=other["id"])
    assert [match["line"]["message"] for page in of_task for match in page] == ["needle three"]


async def test_nobody_finds_lines_of_a_project_they_may_not_see(shared_api: Api):
    space, worker, order = await running(shared_api)
    await worker.log(order, "a needle of one's own")
    outsider = await shared_api.person(unique("outsider"))
    for params in ({}, {"project_id": space.project_id}):
        found = await pages(outsider, "/logs/search", text="a needle of one's own", **params)
        assert found == [[]]
    path = f"/executions/{order['execution_id']}/logs/search"
    assert (await outsider.refused("GET", path, 404, params={"text": "a"}))["code"] == (
        "execution_not_found"
    )


async def test_what_cannot_be_looked_for_is_refused(shared_api: Api):
    space, worker, order = await running(shared_api)
    await worker.log(order, "x")
    path = f"/executions/{order['execution_id']}/logs/search"
    for text in ("", "a\0b", "x" * 201):
        await space.owner.refused("GET", path, 422, params={"text": text})
    other, other_worker, other_order = await running(shared_api)
    await other_worker.log(other_order, "x", "x")
    page = await other.owner.get(
        f"/executions/{other_order['execution_id']}/logs/search", params={"text": "x", "limit": 1}
    )
    foreign = {"text": "x", "cursor": page["next_cursor"]}
    assert (await space.owner.refused("GET", path, 422, params=foreign))["code"] == "cursor_invalid"

"""Log lines: each once, in order, none missing, whatever is printed; and followed as they come."""

import asyncio
import json
from datetime import UTC, datetime

import pytest

from agentvine.protocol.executions import MAX_LINE_CHARACTERS, MAX_LINES_PER_BATCH
from tests.support.api import Api
from tests.support.space import Json, Space, WireWorker, log_body, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def running(api: Api) -> tuple[Space, WireWorker, Json]:
    space = await make_space(api)
    await space.task()
    worker = await space.worker()
    return space, worker, await worker.claim_one()


async def lines(space: Space, order: Json, **params: object) -> list[tuple[str, int, str]]:
    page = await space.owner.get(f"/executions/{order['execution_id']}/logs", params=params)
    return [(line["stream"], line["seq"], line["message"]) for line in page["items"]]


async def test_a_batch_that_comes_twice_is_stored_once(shared_api: Api):
    space, worker, order = await running(shared_api)
    for _ in range(2):
        answer = await worker.log(order, "one", "two")
        assert answer.json() == {"stream": "stdout", "high_seq": 2}
    assert await lines(space, order) == [("stdout", 1, "one"), ("stdout", 2, "two")]


async def test_of_an_overlapping_batch_only_the_new_lines_are_stored(shared_api: Api):
    space, worker, order = await running(shared_api)
    await worker.log(order, "one", "two")
    assert (await worker.log(order, "not two", "three", first_seq=2)).json()["high_seq"] == 3
    assert [text for _, _, text in await lines(space, order)] == ["one", "two", "three"]
    # An old batch does not make the number go back.
    assert (await worker.log(order, "one")).json()["high_seq"] == 3


async def test_a_gap_is_refused_with_the_number_to_go_on_from(shared_api: Api):
    space, worker, order = await running(shared_api)
    await worker.log(order, "one")
    answer = await worker.log(order, "three", first_seq=3)
    assert (answer.status_code, answer.json()["code"]) == (409, "log_gap")
    assert answer.json()["high_seq"] == 1
    assert "Lines 2 to 2 of stdout are missing" in answer.json()["detail"]
    assert len(await lines(space, order)) == 1


async def test_streams_are_numbered_apart_and_read_in_the_order_they_came(shared_api: Api):
    space, worker, order = await running(shared_api)
    for stream, text in (("stdout", "a"), ("stderr", "b"), ("test", "c")):
        await worker.log(order, text, stream=stream)
    await worker.log(order, "d", first_seq=2)
    shown = await lines(space, order)
    assert shown == [("stdout", 1, "a"), ("stderr", 1, "b"), ("test", 1, "c"), ("stdout", 2, "d")]
    assert await lines(space, order, stream="stdout") == [shown[0], shown[3]]


async def test_batches_sent_at_once_leave_no_gap_and_nothing_twice(shared_api: Api):
    space, worker, order = await running(shared_api)
    texts = [f"line {number}" for number in range(1, 41)]
    batches = [(first, texts[first - 1 : first + 9]) for first in range(1, 36, 5)]
    pending = list(batches)
    while pending:
        answers = await asyncio.gather(
            *(worker.log(order, *part, first_seq=first) for first, part in pending)
        )
        pending = [
            batch
            for batch, answer in zip(pending, answers, strict=True)
            if answer.status_code == 409
        ]
    shown = await lines(space, order)
    assert [(seq, text) for _, seq, text in shown] == list(enumerate(texts, 1))


async def test_pages_of_lines_go_on_after_the_last_one(shared_api: Api):
    space, worker, order = await running(shared_api)
    await worker.log(order, *"abcde")
    path, seen, after = f"/executions/{order['execution_id']}/logs", "", 0
    while True:
        page = await space.owner.get(path, params={"after": after, "limit": 2})
        if not page["items"]:
            break
        seen += "".join(line["message"] for line in page["items"])
        after = page["items"][-1]["id"]
    assert seen == "abcde"
    for wrong in ({"limit": 0}, {"limit": 5001}, {"after": -1}):
        await space.owner.refused("GET", path, 422, params=wrong)


async def test_whatever_a_program_prints_is_kept_as_well_as_it_can_be(shared_api: Api):
    space, worker, order = await running(shared_api)
    printed = [
        "",
        "  blanks stay  ",
        "nul \0 here",
        "\x1b[31mred\x1b[0m",
        "é 你好 🌿",
        "\ud800 half",
    ]
    body = json.dumps(log_body(order, *printed))
    answer = await worker.caller.call(
        "POST",
        f"/executions/{order['execution_id']}/logs",
        content=body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.is_success, answer.text
    kept = [text for _, _, text in await lines(space, order)]
    assert kept[:2] == printed[:2]
    assert kept[2] == "nul \ufffd here"
    assert kept[3:5] == printed[3:5]
    assert kept[5].endswith(" half")


async def test_what_is_too_much_for_one_batch_is_refused(shared_api: Api):
    space, worker, order = await running(shared_api)
    longest = "x" * MAX_LINE_CHARACTERS
    assert (await worker.log(order, longest)).is_success
    assert (await worker.log(order, longest + "x", first_seq=2)).status_code == 422
    assert (await worker.log(order, first_seq=2)).status_code == 422
    many = ["x"] * MAX_LINES_PER_BATCH
    assert (await worker.log(order, *many, "x", first_seq=2)).status_code == 422
    assert (await worker.log(order, *many, first_seq=2)).is_success
    assert (await worker.log(order, "x", stream="nowhere")).status_code == 422
    assert await lines(space, order, limit=1) == [("stdout", 1, longest)]


def events_of(text: str) -> list[tuple[str, str, Json]]:
    """The events of a stream: kind, id, data."""
    found: list[tuple[str, str, Json]] = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


async def test_who_follows_hears_every_line_and_the_end(shared_api: Api):
    space, worker, order = await running(shared_api)
    await worker.log(order, "before")
    path = f"/executions/{order['execution_id']}/logs/stream"
    following = asyncio.create_task(space.owner.call("GET", path))
    await asyncio.wait([following], timeout=0.3)
    assert not following.done()
    await worker.log(order, "while", first_seq=2)
    # The report comes before the last line, which it promises.
    await worker.complete(order, exit_code=0, log_high_water={"stdout": 3})
    await worker.log(order, "after", first_seq=3)
    async with asyncio.timeout(20):
        events = events_of((await following).text)
    assert [kind for kind, _, _ in events] == ["log", "log", "log", "end"]
    assert [data["message"] for _, _, data in events[:3]] == ["before", "while", "after"]
    assert events[3][2]["status"] == "completed"
    # Whose connection broke goes on after the last line it has.
    answer = await space.owner.call("GET", path, headers={"Last-Event-ID": events[1][1]})
    resumed = events_of(answer.text)
    assert resumed == events[2:]


async def test_figures_and_the_end_of_a_run_are_kept(shared_api: Api):
    space, worker, order = await running(shared_api)
    path = f"/executions/{order['execution_id']}"
    begun = await space.owner.get(path)
    assert (begun["status"], begun["phase"], begun["attempt"]) == ("running", "starting", 1)
    await worker.beat(order, phase="testing")
    assert (await space.owner.get(path))["phase"] == "testing"
    await worker.fail(
        order,
        "timeout",
        message="took too long",
        report={
            "exit_code": -15,
            "duration_seconds": 61.6,
            "peak_memory_bytes": 2**31,
            "metrics": {"changed": False, "note": "n"},
        },
    )
    ended = await space.owner.get(path)
    assert (ended["status"], ended["failure_class"]) == ("timeout", "timeout")
    assert (ended["failure_message"], ended["exit_code"]) == ("took too long", -15)
    assert (ended["duration_seconds"], ended["phase"]) == (62, "finished")
    assert ended["metrics"] == {
        "changed": False,
        "note": "n",
        "duration_seconds": 61.6,
        "peak_memory_bytes": 2**31,
    }
    assert datetime.fromisoformat(ended["completed_at"]) <= datetime.now(UTC)
    listed = await space.owner.get("/executions", params={"task_id": ended["task_id"]})
    assert listed["items"] == [ended]

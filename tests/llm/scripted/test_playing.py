"""A request gets the turn that it is at, however often and beside whatever it comes."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentvine.llm.scripted import ScriptInvalid, load_script, parse_script
from tests.support.models import Model, called, scripted_model, user

TWO_STEPS = """
turns:
  - calls: [{write_file: {path: a, content: b}}, {write_file: {path: c, content: d}}]
  - text: First.
  - text: Second.
"""


def said(answer: httpx2.Response) -> str:
    return answer.json()["choices"][0]["message"]["content"]


async def test_the_step_is_told_from_the_request_alone():
    async with scripted_model(TWO_STEPS) as model:
        for _ in range(2):
            again = await model.chat(user("Go"), *called(2))
            begun = await model.chat(user("Go"))
            assert len(begun.json()["choices"][0]["message"]["tool_calls"]) == 2
            assert said(again) == "First."
            more = [user("Go"), *called(2), {"role": "assistant", "content": "First."}]
            assert said(await model.chat(*more, user("And now?"))) == "Second."


async def test_who_asks_beyond_the_script_is_told_so():
    async with scripted_model("turns: [{calls: [{write_file: {path: a, content: b}}]}]") as model:
        assert said(await model.chat(user("Go"), *called(1))) == "The script is over."


async def test_a_turn_can_be_repeated_a_number_of_times_and_for_ever():
    call = "calls: [{write_file: {path: a, content: b}}]"
    script = f"turns: [{{{call}, repeat: 2}}, {{text: Enough., {call}, repeat: forever}}]"
    async with scripted_model(script) as model:
        seen = [said(await model.chat(user("Go"), *(called(1) * step))) for step in range(40)]

    assert seen == [None, None] + ["Enough."] * 38


async def test_conversations_are_told_apart_by_what_was_said_and_by_the_key():
    script = """
    conversations:
      - {when: {prompt: "resume"}, turns: [{text: Resumed.}]}
      - {when: {key: second}, turns: [{text: For the second.}]}
      - {when: {system: pirate}, turns: [{text: Arr.}]}
    turns: [{text: Else.}]
    """
    pirate = {"role": "system", "content": "You are a pirate."}
    async with scripted_model(script) as model:
        assert said(await model.chat(user("Go"))) == "Else."
        assert said(await model.chat(pirate, user("Go"))) == "Arr."
        assert said(await model.chat(user("Go"), key="the-second")) == "For the second."
        answered = [user("Go"), {"role": "assistant", "content": "Else."}]
        assert said(await model.chat(*answered, user("Please resume."))) == "Resumed."


async def test_faults_come_first_and_each_conversation_has_its_own():
    script = """
    turns:
      - faults: [{status: 529, times: 2}, {status: 500}]
        text: At last.
    """
    async with scripted_model(script) as model:
        seen = [(await model.chat(user("One"))).status_code for _ in range(4)]
        other = await model.chat(user("Another"))

        assert seen == [529, 529, 500, 200]
        assert other.status_code == 529
        assert [request.usage is None for request in model.requests] == [
            *(True, True, True, False, True),
        ]


async def test_in_sequence_each_request_gets_the_next_turn():
    script = "{mode: sequence, turns: [{text: One.}, {faults: [{status: 503}]}, {text: Two.}]}"
    async with scripted_model(script) as model:
        answers = [await model.chat(user("Go")) for _ in range(4)]

    assert answers[1].status_code == 503
    texts = [said(answer) for answer in answers if answer.status_code == 200]
    assert texts == ["One.", "Two.", "The script is over."]


async def test_a_request_on_the_side_gets_the_title_and_moves_nothing():
    async with scripted_model(f"title: A title{TWO_STEPS}") as model:
        aside = await model.chat(user("Name this."), tools=[])

        assert said(aside) == "A title"
        assert [request.is_aside for request in model.requests] == [True]


async def test_agents_without_tools_get_their_commands_in_the_text():
    script = """
    conversations:
      - as_text: bash
        turns: [{text: Now., calls: [{write_file: {path: a b, content: "it's"}}]}, {text: Done.}]
    """
    async with scripted_model(script) as model:
        first = await model.chat(user("Go"), tools=[])
        reply = {"role": "assistant", "content": said(first)}
        second = await model.chat(user("Go"), reply, user("Output: nothing"), tools=[])

    command = """printf %s 'it'"'"'s' > 'a b'"""
    assert said(first) == f"Now.\n\n```bash\n{command}\n```\n"
    assert said(second) == "Done."


@pytest.mark.parametrize(
    ("fault", "events", "is_whole"),
    [("cut_after_events: 2", 2, False), ("error_after_events: 2", 3, True)],
)
async def test_a_stream_can_end_too_early(fault: str, events: int, is_whole: bool):
    async with scripted_model(f"turns: [{{faults: [{{{fault}}}], text: Fine.}}]") as model:
        text = await read(model)
        [request] = model.requests
        again = await read(model)

    assert text.count("data: ") == events
    assert ("error" in text) is is_whole
    assert (request.sent.events, request.sent.is_whole) == (events, is_whole)
    assert (request.is_told, request.usage is not None) == (False, True)
    assert again.endswith("[DONE]\n\n")


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("size", [0, 1, 100])
async def test_a_body_can_be_cut_at_any_byte(size: int, is_stream: bool):
    script = f"turns: [{{faults: [{{cut_after_bytes: {size}}}], text: Fine.}}]"
    async with scripted_model(script) as model:
        text = await read(model, stream=is_stream)

        assert len(text) == size
        assert model.requests[0].sent.bytes == size
        assert not model.requests[0].is_told


async def read(model: Model, **more: Any) -> str:
    """What of an answer arrives before the connection ends."""
    body = {"model": "m", "stream": True, "messages": [user("Go")], **more}
    received = bytearray()
    try:
        async with model.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            async for part in answer.aiter_bytes():
                received += part
    except httpx2.RemoteProtocolError:
        pass
    return received.decode()


async def test_who_leaves_early_is_seen_to_leave():
    async with scripted_model("turns: [{text: A long story., chunk: 1, pace: 60}]") as model:
        body = {"model": "m", "stream": True, "messages": [user("Go")]}
        async with model.http.stream("POST", "/v1/chat/completions", json=body) as answer:
            await anext(answer.aiter_bytes())
        other = await model.http.head("/")  # the loop goes round: it may see the other's end
        while not model.requests[0].sent.is_gone:
            await model.http.head("/")

    assert other.status_code == 200
    assert not model.requests[0].is_told


async def test_requests_can_be_read_from_outside_and_hold_no_key():
    async with scripted_model("turns: [{text: Fine.}]") as model:
        await model.chat(user("Go"), key="sk-secret-1")
        await model.http.post("/v1beta/models/m:generateContent?key=sk-secret-2", json={})
        text = (await model.http.get("/_script/requests")).text

    first, second = map(json.loads, text.splitlines())
    assert "secret" not in text
    assert first["body"]["messages"] == [user("Go")]
    assert (first["wire"], first["usage"]["tokens_out"], first["is_told"]) == ("chat", 2, True)
    assert first["key_id"] != second["key_id"] != ""


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("turns: [{txt: x}]", "turns.0.txt"),
        ("turns: []", "turns or conversations"),
        ("turns: [{faults: [{times: 2}]}]", "a fault has one of"),
        ("turns: [{repeat: 0}]", "repeat is 1 or more"),
        ("conversations: [{when: {prompt: '('}, turns: [{text: x}]}]", "no regular expression"),
        ("turns: [{calls: [{a: {}, b: {}}]}]", "one tool's name"),
        ("turns: [", "no YAML"),
    ],
)
def test_a_wrong_script_is_refused_with_the_place(script: str, complaint: str):
    with pytest.raises(ScriptInvalid, match=complaint):
        parse_script(script)


def test_a_script_that_cannot_be_read_is_refused(tmp_path: Path):
    with pytest.raises(ScriptInvalid, match="No such file"):
        load_script(tmp_path / "none.yaml")

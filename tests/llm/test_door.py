"""The door to models: replies, tools, shapes, failures, and books that are right after each."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import httpx2
import pytest
from pydantic import BaseModel

from agentvine.kit.errors import AppError, LimitReached
from agentvine.llm import errors
from agentvine.llm.door import Limits, ModelDoor
from agentvine.llm.messages import Conversation, Stop, Tool, ToolResult, Used
from agentvine.llm.ports import Endpoint, Kind, PlannedCall
from tests.support.models import Model, scripted_model

KINDS: tuple[Kind, ...] = ("anthropic", "openai")
QUICK = Limits(pause_seconds=0.001)
WRITE = Tool(
    name="write_file",
    description="Write a file.",
    schema={
        "type": "object",
        "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
    },
)
USAGE = "usage: {input: 1111, output: 22, cache_read: 333, cache_write: 44, reasoning: 5}\n"


class Books:
    """A meter that remembers what it was told."""

    def __init__(self, granted: int | None = None, refusal: AppError | None = None) -> None:
        self.granted = granted
        self.refusal = refusal
        self.open: dict[str, PlannedCall] = {}
        self.shrunk: list[Used] = []
        self.settled: list[tuple[Used, bool]] = []
        self.released = 0

    async def reserve(self, call: PlannedCall) -> int:
        if self.refusal is not None:
            raise self.refusal
        assert call.request_id not in self.open
        self.open[call.request_id] = call
        return self.granted or call.max_output

    async def shrink(self, call: PlannedCall, used: Used) -> None:
        assert call.request_id in self.open
        self.shrunk.append(used)

    async def settle(
        self, call: PlannedCall, used: Used, *, duration_ms: int, is_estimated: bool
    ) -> None:
        del self.open[call.request_id]
        assert duration_ms >= 0
        self.settled.append((used, is_estimated))

    async def release(self, call: PlannedCall) -> None:
        del self.open[call.request_id]
        self.released += 1


@dataclass
class Places:
    """Keys to be tried in turn."""

    endpoints: Sequence[Endpoint]
    limits: list[tuple[str, float]] = field(default_factory=list)

    async def find(self, model: str) -> Sequence[Endpoint]:
        return self.endpoints

    async def note_limit(self, endpoint: Endpoint, seconds: float, reason: str) -> None:
        self.limits.append((endpoint.name, seconds))


@dataclass
class Scene:
    model: Model
    door: ModelDoor
    books: Books
    places: Places

    @property
    def keys(self) -> int:
        return len({request.key_id for request in self.model.requests})


@asynccontextmanager
async def scene(
    script: str, kind: Kind = "openai", books: Books | None = None, keys: Sequence[str] = ("one",)
) -> AsyncIterator[Scene]:
    books = books or Books()
    async with scripted_model(script) as model, httpx2.AsyncClient() as http:
        url = model.url if kind == "anthropic" else f"{model.url}/v1"
        places = Places(
            [
                Endpoint(kind=kind, base_url=url, model="m", key=key, http=http, name=key)
                for key in keys
            ]
        )
        yield Scene(model, ModelDoor(places, books), books, places)
        assert books.open == {}, "every call is closed"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_conversation_with_tools_and_its_usage(kind: Kind):
    script = f"""{USAGE}
turns:
  - thinking: Let me think.
    text: I write it.
    calls: [{{write_file: {{path: a.txt, content: x}}}}, {{tool: other, input: {{y: [1]}}}}]
  - text: Done.
"""
    async with scene(script, kind) as here:
        talk = Conversation("You are an agent.", "Write a.txt.")
        first = await here.door.complete("m", talk, tools=[WRITE])
        talk.give(
            [
                ToolResult(call=first.calls[0], text="written"),
                ToolResult(call=first.calls[1], text="no such tool", is_error=True),
            ]
        )
        second = await here.door.complete("m", talk, tools=[WRITE])

    assert (first.text, first.thinking, first.stop) == (
        *("I write it.", "Let me think.", Stop.CALLS),
    )
    assert [(call.name, call.input) for call in first.calls] == [
        ("write_file", {"path": "a.txt", "content": "x"}),
        ("other", {"y": [1]}),
    ]
    assert (second.text, second.stop) == ("Done.", Stop.DONE)
    sent = here.model.requests[1]
    told = sent.usage
    assert told is not None
    used = Used(
        input=told.tokens_in,
        output=told.tokens_out,
        cache_read=told.tokens_cache_read,
        cache_write=told.tokens_cache_write,
    )
    assert second.used == used
    assert here.books.settled == [(used, False)] * 2
    assert "no such tool" in str(sent.body)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reply_can_be_read_as_it_comes(kind: Kind):
    text = "A long story that comes in several pieces, one after the other, until it ends."
    script = f"{USAGE}turns: [{{text: '{text}', chunk: 9}}]"
    async with scene(script, kind) as here:
        talk = Conversation("", "Tell me.")
        async with here.door.stream("m", talk) as stream:
            pieces = [piece async for piece in stream]

        [(used, is_estimated)] = here.books.settled
        assert used.output == 22
        assert not is_estimated
    assert "".join(pieces) == text
    assert len(pieces) > 3
    assert stream.reply is not None
    assert stream.reply.text == text
    assert talk.entries[-1] is stream.reply
    assert len(here.books.shrunk) == 1


async def test_a_stream_that_breaks_off_is_counted_with_what_was_seen():
    script = (
        f"{USAGE}turns: [{{faults: [{{cut_after_events: 6}}], text: '{'x' * 200}', chunk: 10}}]"
    )
    async with scene(script, "anthropic") as here:
        talk = Conversation("", "Tell me.")
        seen: list[str] = []
        with pytest.raises(errors.ModelUnavailable):
            async with here.door.stream("m", talk, limits=QUICK) as stream:
                seen += [piece async for piece in stream]

        [(used, is_estimated)] = here.books.settled
        assert (used.input, used.cache_read, is_estimated) == (1488, 333, True)
        assert 0 < used.output <= 200
        assert len(here.model.requests) == 1
        assert len(talk.entries) == 1


async def test_who_stops_reading_pays_what_was_seen():
    async with scene(f"turns: [{{text: {'x' * 900}, chunk: 1, pace: 0.2}}]") as here:
        async with here.door.stream("m", Conversation("", "Tell me.")) as stream:
            async for _ in stream:
                break

        [(used, is_estimated)] = here.books.settled
        assert is_estimated
        assert used.input > 0
        assert stream.reply is None


class Verdict(BaseModel):
    decision: Literal["allow", "deny"]
    why: str


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_has_the_shape_that_was_asked_for(kind: Kind):
    script = """
turns:
  - calls: [{tool: answer, input: {decision: maybe, why: hm}}]
  - calls: [{tool: answer, input: {decision: allow, why: it reads only}}]
"""
    async with scene(script, kind) as here:
        verdict = await here.door.ask("m", Conversation("", "May it?"), Verdict)

        assert verdict == Verdict(decision="allow", why="it reads only")
        assert len(here.books.settled) == 2
    assert "Input should be" in str(here.model.requests[1].body)


async def test_an_answer_in_the_text_is_taken_and_a_wrong_one_is_not_asked_for_ever():
    conversations = """
conversations:
  - when: {prompt: fine}
    turns: [{text: 'Well: {"decision": "deny", "why": "no"} I think.'}]
  - when: {prompt: wrong}
    turns: [{text: I do not know.}]
"""
    async with scene(conversations) as here:
        verdict = await here.door.ask("m", Conversation("", "fine"), Verdict)
        with pytest.raises(errors.AnswerUnusable, match="2 tries"):
            await here.door.ask("m", Conversation("", "wrong"), Verdict, tries=2)

        assert verdict.decision == "deny"
        assert len(here.books.settled) == 3


async def test_what_passes_is_tried_again_and_each_attempt_is_booked():
    script = "turns: [{faults: [{status: 529, times: 2}], text: At last.}]"
    async with scene(script, "anthropic") as here:
        reply = await here.door.complete("m", Conversation("", "Go"), limits=QUICK)

        assert reply.text == "At last."
        assert (here.books.released, len(here.books.settled)) == (2, 1)


async def test_a_limited_key_gives_way_to_the_next_one_at_once():
    script = """
conversations:
  - when: {key: one}
    turns: [{faults: [{status: 429, times: forever, headers: {retry-after: "600"}}]}]
turns: [{text: Fine.}]
"""
    async with scene(script, keys=["one", "two"]) as here:
        reply = await here.door.complete("m", Conversation("", "Go"))

        assert reply.text == "Fine."
        assert here.places.limits == [("one", 600.0)]
        assert here.books.released == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("fault", "error", "requests"),
    [
        ("status: 401", errors.ModelKeyRefused, 1),
        ("status: 402", errors.ModelBudgetUsedUp, 1),
        ("status: 400", errors.ModelRequestRefused, 1),
        ("status: 429, headers: {retry-after: '600'}", errors.ModelLimited, 1),
        ("status: 503", errors.ModelUnavailable, 4),
        ("status: 503, headers: {x-should-retry: 'false'}", errors.ModelUnavailable, 1),
        ("cut_after_bytes: 10", errors.ModelUnavailable, 4),
    ],
)
async def test_failures_have_names_and_only_what_passes_is_tried_again(
    kind: Kind, fault: str, error: type[AppError], requests: int
):
    script = f"turns: [{{faults: [{{{fault}, times: forever, message: Because.}}]}}]"
    if fault.startswith("cut"):
        script = script.replace(", message: Because.", "")
    async with scene(script, kind) as here:
        with pytest.raises(error) as failed:
            await here.door.complete("m", Conversation("", "Go"), limits=QUICK)

        assert len(here.model.requests) == requests
        was_lost = fault.startswith("cut")
        assert (len(here.books.settled), here.books.released) == (
            (requests, 0) if was_lost else (0, requests)
        )
        assert all(is_estimated for _, is_estimated in here.books.settled)
        if not was_lost:
            assert "Because." in failed.value.detail
        if "600" in fault:
            assert failed.value.retry_after == 600


async def test_a_refused_reservation_asks_nobody():
    async with scene("turns: [{text: Fine.}]", books=Books(refusal=LimitReached("Too dear."))) as s:
        with pytest.raises(LimitReached, match="Too dear"):
            await s.door.complete("m", Conversation("", "Go"))

        assert s.model.requests == []


async def test_a_smaller_grant_limits_the_answer():
    async with scene("turns: [{text: Fine.}]", "anthropic", Books(granted=300)) as here:
        await here.door.complete("m", Conversation("", "Go"))

    [request] = here.model.requests
    assert isinstance(request.body, dict)
    assert request.body["max_tokens"] == 300


async def test_a_model_that_is_silent_is_given_up_in_time_and_counted():
    async with scene("turns: [{text: Fine., delay: 600}]") as here:
        with pytest.raises(errors.ModelTimedOut):
            await here.door.complete(
                "m", Conversation("", "Go"), limits=Limits(timeout_seconds=0.5)
            )

        assert [is_estimated for _, is_estimated in here.books.settled] == [True]


async def test_a_cancelled_call_is_counted():
    async with scene("turns: [{text: Fine., delay: 600}]") as here:
        asking = asyncio.create_task(here.door.complete("m", Conversation("", "Go")))
        while not here.model.requests:  # noqa: ASYNC110 - the upstream has no event for it
            await asyncio.sleep(0.01)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

        assert [is_estimated for _, is_estimated in here.books.settled] == [True]


class SlowBooks(Books):
    """Books that take their time to settle."""

    def __init__(self) -> None:
        super().__init__()
        self.is_settling, self.may_settle = asyncio.Event(), asyncio.Event()

    async def settle(
        self, call: PlannedCall, used: Used, *, duration_ms: int, is_estimated: bool
    ) -> None:
        self.is_settling.set()
        await self.may_settle.wait()
        await super().settle(call, used, duration_ms=duration_ms, is_estimated=is_estimated)


async def test_a_call_that_is_cancelled_again_while_it_is_counted_is_counted():
    books = SlowBooks()
    async with scene("turns: [{text: Fine.}]", books=books) as here:
        asking = asyncio.create_task(here.door.complete("m", Conversation("", "Go")))
        async with asyncio.timeout(60):
            await books.is_settling.wait()
        asking.cancel()
        await asyncio.sleep(0)
        books.may_settle.set()
        with pytest.raises(asyncio.CancelledError):
            await asking

        assert len(books.settled) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_tools_are_offered_and_called_in_a_stream_too(kind: Kind):
    script = "turns: [{text: I write., calls: [{write_file: {path: a.txt, content: x}}]}]"
    async with scene(script, kind) as here:
        async with here.door.stream("m", Conversation("", "Go"), tools=[WRITE]) as stream:
            text = "".join([piece async for piece in stream])

        assert WRITE.description in str(here.model.requests[0].body)
    assert stream.reply is not None
    assert (text, stream.reply.stop) == ("I write.", Stop.CALLS)
    assert [(call.name, call.input) for call in stream.reply.calls] == [
        ("write_file", {"path": "a.txt", "content": "x"})
    ]


async def test_old_results_are_shortened_and_new_ones_are_not():
    script = "turns: [{calls: [{write_file: {path: a, content: b}}], repeat: forever}]"
    async with scene(script) as here:
        talk = Conversation("", "Go")
        for _ in range(4):
            reply = await here.door.complete("m", talk, tools=[WRITE])
            talk.give([ToolResult(call=reply.calls[0], text="y" * 5000)])
        before = talk.size

        assert talk.shorten(before) == 0
        assert talk.shorten(11_000) == 2
        assert talk.size < 11_500
        assert talk.shorten(0) == 0
        await here.door.complete("m", talk, tools=[WRITE])

    assert "more characters were here" in str(here.model.requests[-1].body)

"""The one way to ask a language model: any provider, and every attempt in the books.

Nothing here knows a provider, or the library that speaks to it: ``library.py`` is imported when the
first call is made.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from agentvine.kit.errors import AppError
from agentvine.kit.ids import new_id
from agentvine.llm.asking import Asking, CallFailed, Library, OpenStream
from agentvine.llm.errors import (
    AnswerUnusable,
    ContextTooLong,
    ModelBudgetUsedUp,
    ModelKeyRefused,
    ModelLimited,
    ModelRequestRefused,
    ModelTimedOut,
    ModelUnavailable,
)
from agentvine.llm.messages import Conversation, Reply, Tool, ToolResult, Used
from agentvine.llm.ports import Endpoint, Endpoints, Meter, PlannedCall

T = TypeVar("T", bound=BaseModel)

_ANSWER = "answer"
_TEMPLATE_TOKENS = 2048
"""What providers put around a request of their own."""
_TOKENS_PER_TOOL = 1024
_LONGEST_WAIT = 60.0
"""A provider that wants to be left alone for longer does not answer now."""
_LIMITED_SECONDS = 30.0
"""How long one is left alone that does not say."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far one question may go."""

    max_output: int = 8192
    """Tokens of a reply."""
    timeout_seconds: float = 600.0
    """For one reply, with all attempts at it."""
    attempts: int = 4
    """Requests for one reply, at all places together."""
    pause_seconds: float = 0.5
    """Before the second attempt; twice as long before each further one."""
    temperature: float | None = None


USUAL = Limits()


class Stream:
    """A reply as it comes: ``async for piece in stream``, then ``stream.reply``."""

    def __init__(self, pieces: AsyncGenerator[str]) -> None:
        """Read from here."""
        self._pieces = pieces
        self.reply: Reply | None = None
        """Whole, when the pieces have come to their end."""

    def finish(self, reply: Reply) -> Reply:
        """It is whole."""
        self.reply = reply
        return reply

    def __aiter__(self) -> AsyncGenerator[str]:
        return self._pieces


class ModelDoor:
    """Asks models. One for a process: any number of calls may go on at once."""

    def __init__(self, endpoints: Endpoints, meter: Meter) -> None:
        """Ask there, and count here."""
        self._endpoints = endpoints
        self._meter = meter

    async def complete(
        self,
        model: str,
        conversation: Conversation,
        *,
        tools: Sequence[Tool] = (),
        limits: Limits = USUAL,
    ) -> Reply:
        """The model's reply, which is added to the conversation.

        Raises:
            ModelLimited: The provider takes no calls now; ``retry_after`` says when.
            ModelBudgetUsedUp: No money is left.
            ModelTimedOut: It took too long.
            ModelUnavailable: Nobody answers.
            ModelKeyRefused: The key is wrong.
            ContextTooLong: The conversation is.
            ModelRequestRefused: The provider says that the request is wrong.
            AppError: What the meter and the endpoints raise.
        """
        question = _Question(model, conversation, tools, limits, must_call=False)
        reply = await self._complete(question)
        conversation.add(reply)
        return reply

    async def ask(
        self,
        model: str,
        conversation: Conversation,
        shape: type[T],
        *,
        tries: int = 3,
        limits: Limits = USUAL,
    ) -> T:
        """An answer of a given shape. One that does not fit is sent back with the reasons.

        The conversation grows by the model's answers, and by what was said to them.

        Raises:
            AnswerUnusable: No try gave one that fits.
            AppError: As for ``complete``.
        """
        tool = Tool(name=_ANSWER, description="Give your answer.", schema=shape.model_json_schema())
        question = _Question(model, conversation, [tool], limits, must_call=True)
        problem = ""
        for _ in range(tries):
            reply = await self._complete(question)
            conversation.add(reply)
            try:
                return _answer_in(reply, shape)
            except ValidationError as error:
                problem = _describe(error)
            _send_back(conversation, reply, problem)
        raise AnswerUnusable(f"{model} gave no usable answer in {tries} tries: {problem}")

    @asynccontextmanager
    async def stream(
        self,
        model: str,
        conversation: Conversation,
        *,
        tools: Sequence[Tool] = (),
        limits: Limits = USUAL,
    ) -> AsyncGenerator[Stream]:
        """The reply piece by piece; it is added to the conversation when it is whole.

        It is tried again only as long as nothing has come. Raises as ``complete`` does, also
        between the pieces.
        """
        library = await _import_library()
        question = _Question(model, conversation, tools, limits, must_call=False)
        async with _in_time(question):
            places = await self._endpoints.find(model)
            for number in range(limits.attempts):
                has_begun = False
                try:
                    async with (
                        self._booked(question, places[number % len(places)]) as booking,
                        library.open_stream(booking.asking) as opened,
                    ):
                        has_begun = True
                        async with aclosing(self._read(booking, opened)) as pieces:
                            stream = Stream(pieces)
                            yield stream
                        if booking.is_whole:
                            conversation.add(stream.finish(opened.reply))
                        return
                except CallFailed as error:
                    if has_begun:
                        raise _in_our_words(error, model) from error
                    await self._pause(question, places, number, error)

    async def _complete(self, question: "_Question") -> Reply:
        library = await _import_library()
        async with _in_time(question):
            places = await self._endpoints.find(question.model)
            for number in range(question.limits.attempts):
                try:
                    async with self._booked(question, places[number % len(places)]) as booking:
                        reply = await library.ask(booking.asking)
                        booking.used, booking.is_whole = reply.used, True
                        return reply
                except CallFailed as error:
                    await self._pause(question, places, number, error)
        raise AssertionError("the last attempt returns or raises")

    async def _pause(
        self, question: "_Question", places: Sequence[Endpoint], number: int, error: CallFailed
    ) -> None:
        """Let the time pass until the next attempt, or raise: there is none."""
        failed, limits = places[number % len(places)], question.limits
        if error.status == 429:
            wait = error.retry_after or _LIMITED_SECONDS
            await self._endpoints.note_limit(failed, wait, error.message)
        is_last_place = (number + 1) % len(places) == 0
        # Another key may do what this one does not.
        may_go_on = error.may_retry or (not is_last_place and error.status in {401, 403, 404})
        wait = error.retry_after or 0.0
        if (
            not may_go_on
            or number + 1 >= limits.attempts
            or (is_last_place and wait > _LONGEST_WAIT)
        ):
            raise _in_our_words(error, question.model) from error
        log.info("model.tried_again", model=question.model, problem=error.message[:200])
        if is_last_place:
            # Spreads callers that failed together; protects nothing.
            pause = limits.pause_seconds * 2**number * random.uniform(0.8, 1.2)  # noqa: S311 - spreads
            await asyncio.sleep(max(wait, pause))

    @asynccontextmanager
    async def _booked(
        self, question: "_Question", endpoint: Endpoint
    ) -> AsyncGenerator["_Booking"]:
        """One attempt: reserved before, and settled or released after, whatever happens."""
        call = PlannedCall(
            request_id=f"door-{new_id().hex}",
            endpoint=endpoint,
            asked_model=question.model,
            input_bound=question.input_bound,
            max_output=question.limits.max_output,
        )
        granted = await self._meter.reserve(call)
        booking = _Booking(call=call, asking=question.to(endpoint, granted))
        try:
            yield booking
        except CallFailed as error:
            await _finish(self._close(booking, was_sent=error.was_sent))
            raise
        except BaseException:
            await _finish(self._close(booking, was_sent=True))
            raise
        await _finish(self._close(booking, was_sent=True))

    async def _close(self, booking: "_Booking", *, was_sent: bool) -> None:
        if not was_sent:
            await self._meter.release(booking.call)
            return
        duration = round((time.monotonic() - booking.started) * 1000)
        await self._meter.settle(
            booking.call,
            booking.counted,
            duration_ms=duration,
            is_estimated=not booking.is_whole,
        )

    async def _read(self, booking: "_Booking", opened: OpenStream) -> AsyncGenerator[str]:
        try:
            async for piece in opened.pieces():
                booking.seen_bytes += len(piece.encode())
                was_told = booking.used.input > 0
                booking.used = opened.used
                if not was_told and booking.used.input > 0:
                    await self._meter.shrink(booking.call, booking.used)
                if piece:
                    yield piece
        except CallFailed as error:
            raise _in_our_words(error, booking.call.asked_model) from error
        booking.used, booking.is_whole = opened.used, True


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked, wherever."""

    model: str
    conversation: Conversation
    tools: Sequence[Tool]
    limits: Limits
    must_call: bool

    @property
    def input_bound(self) -> int:
        schemas = sum(len(f"{tool.description}{tool.schema}".encode()) for tool in self.tools)
        return (
            self.conversation.size + schemas + _TEMPLATE_TOKENS + _TOKENS_PER_TOOL * len(self.tools)
        )

    def to(self, endpoint: Endpoint, max_output: int) -> Asking:
        return Asking(
            endpoint=endpoint,
            conversation=self.conversation,
            tools=self.tools,
            must_call=self.must_call,
            max_output=min(max_output, self.limits.max_output),
            timeout_seconds=self.limits.timeout_seconds,
            temperature=self.limits.temperature,
        )


class _Booking:
    """One attempt, while it is made."""

    def __init__(self, *, call: PlannedCall, asking: Asking) -> None:
        self.call = call
        self.asking = asking
        self.started = time.monotonic()
        self.used = Used()
        self.seen_bytes = 0
        self.is_whole = False

    @property
    def counted(self) -> Used:
        """What was told, or else the most that can have been."""
        if self.is_whole:
            return self.used
        output = max(self.used.output, min(self.seen_bytes, self.asking.max_output))
        if not self.used.input:
            return Used(input=self.call.input_bound, output=output)
        told = self.used
        return Used(
            input=told.input,
            output=output,
            cache_read=told.cache_read,
            cache_write=told.cache_write,
        )


async def _import_library() -> Library:
    return await asyncio.to_thread(_imported)


def _imported() -> Library:
    from agentvine.llm.library import LIBRARY  # noqa: PLC0415 - takes more than a second

    return LIBRARY


@asynccontextmanager
async def _in_time(question: _Question) -> AsyncGenerator[None]:
    deadline = asyncio.timeout(question.limits.timeout_seconds)
    try:
        async with deadline:
            yield
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise ModelTimedOut(
            f"{question.model} did not answer within {question.limits.timeout_seconds:g} s."
        ) from error


async def _finish(closing: Awaitable[None]) -> None:
    """Bring it to its end although we are cancelled: the books must be right."""
    task = asyncio.ensure_future(closing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


def _answer_in(reply: Reply, shape: type[T]) -> T:
    for call in reply.calls:
        if call.name == _ANSWER and call.problem is None:
            return shape.model_validate(dict(call.input))
    # Some servers cannot be made to call a tool; the answer may stand in the text.
    begin, end = reply.text.find("{"), reply.text.rfind("}")
    return shape.model_validate_json(reply.text[begin : end + 1] if begin >= 0 else reply.text)


def _describe(error: ValidationError) -> str:
    problems = [
        f"{'.'.join(str(part) for part in each['loc']) or 'the whole'}: {each['msg']}"
        for each in error.errors(include_url=False)
    ]
    return "; ".join(problems)[:1000]


def _send_back(conversation: Conversation, reply: Reply, problem: str) -> None:
    told = f"This does not fit: {problem}. Call {_ANSWER} again, with all of it."
    if reply.calls:
        conversation.give([ToolResult(call=call, text=told, is_error=True) for call in reply.calls])
    else:
        conversation.say(told)


def _in_our_words(error: CallFailed, model: str) -> AppError:
    text = f"{model}: {error.message}"
    after = error.retry_after
    if error.is_too_long:
        return ContextTooLong(text)
    if error.status is None or error.status >= 500 or error.status in {408, 409}:
        return ModelUnavailable(text, retry_after=after)
    kinds = {401: ModelKeyRefused, 402: ModelBudgetUsedUp, 403: ModelKeyRefused, 429: ModelLimited}
    return kinds.get(error.status, ModelRequestRefused)(text, retry_after=after)

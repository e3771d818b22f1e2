"""How a worker's runs get answers: from the server, for as long as it takes.

The question is stored there before the run waits, under the runtime's own key, so that everything
here may be repeated: a lost connection, a server that is started anew. A run keeps its slot only so
long; then it ends, and the order waits for the answer in its place.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import structlog

from agentvine.client import Client, RetryPolicy
from agentvine.kit.errors import AppError, Conflict, NotFound
from agentvine.kit.redaction import Redactor, clean_value
from agentvine.protocol.questions import (
    MAX_QUESTION_CHARACTERS,
    MAX_QUESTION_DIFF_CHARACTERS,
    MAX_WAIT_SECONDS,
    AnswerDecision,
    AnswerOut,
    QuestionIn,
    QuestionOut,
    QuestionState,
    WithdrawIn,
)
from agentvine.protocol.tools import TOOL_QUESTION
from agentvine.runtimes.asking import (
    AnswerDeferred,
    AnswerMissed,
    NobodyThere,
    RunAnswer,
    RunQuestion,
)
from agentvine.worker.files import FileFetcher
from agentvine.worker.shipping import TRY_AGAIN

T = TypeVar("T")
Say = Callable[[str, str], Awaitable[None]]

_RETRY = RetryPolicy(base_seconds=0.2, cap_seconds=5.0)
_SHOWN = 300
_LOOK_SECONDS = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class ServerAsker:
    """One run's way to those who answer. Several questions may wait at a time."""

    client: Client
    execution_id: uuid.UUID
    order_id: uuid.UUID
    fence: int
    worktree: str
    stop: asyncio.Event
    """Set when the run is to end; nothing is waited for then."""
    wait_seconds: float
    """How long one question keeps the run."""
    redactor: Redactor
    inbox: Path
    """Where files that come with answers are laid."""
    say: Say
    """Writes a line into the run's log, and its step into the timeline."""
    ended_for: AnswerDeferred | None = None
    """Why the run was told to end, once it was."""
    _asked: dict[str, uuid.UUID] = field(default_factory=dict[str, uuid.UUID])
    _tool_until: float | None = None
    """Until when the agent may wait for what it asks by a tool, while it does."""
    _shown: set[uuid.UUID] = field(default_factory=set[uuid.UUID])

    async def ask(self, question: RunQuestion) -> RunAnswer:
        """Ask, and wait as long as it takes, but no longer than the run may.

        Raises:
            AnswerDeferred: The run is to end now.
        """
        until = asyncio.get_running_loop().time() + self.wait_seconds
        text = self._text_of(question)
        try:
            stored = await self._insist(text, self._post, question, text)
            if stored.state is QuestionState.OPEN:
                await self.say(f"Asks: {text[:_SHOWN]}", "asked")
            while stored.state is QuestionState.OPEN:
                left = until - asyncio.get_running_loop().time()
                if left <= 0:
                    raise self._end(AnswerDeferred(text))
                stored = await self._insist(text, self._wait, stored, left)
        except NotFound:
            # A server of an earlier version, where nobody can be asked.
            return await NobodyThere().ask(question)
        return await self._answered(stored, text)

    async def withdraw(self, key: str) -> None:
        """Say that an answer is no longer wanted; told once, as nothing hangs on it."""
        question_id = self._asked.pop(key, None)
        if question_id is None:
            return
        try:
            body = WithdrawIn(order_id=self.order_id, fence=self.fence)
            await self.client.questions.withdraw(self.execution_id, question_id, body)
        except AppError as error:
            log.warning("question.not_withdrawn", problem=error.detail)

    async def follow(self, pause: Callable[[bool], None]) -> None:
        """Tell whenever the agent begins or ends to wait for what it asks by our tools.

        Raises:
            AnswerDeferred: The run is to end now.
        """
        is_waiting = False
        while True:
            left = max(self._tool_until - self._now(), 0.0) if self._tool_until else 0.0
            found = await self._open_by_tools(min(left, MAX_WAIT_SECONDS / 2))
            if bool(found) is not is_waiting:
                is_waiting = not is_waiting
                pause(is_waiting)
            if not found:
                self._tool_until = None
                # The call has not arrived there yet, or its answer not here.
                await asyncio.sleep(_LOOK_SECONDS)
                continue
            if self._tool_until is None:
                self._tool_until = self._now() + self.wait_seconds
            if self._tool_until <= self._now():
                raise self._end(AnswerDeferred(found[0].text))

    async def check(self) -> None:
        """See that nothing is open that the agent has asked by our tools.

        Raises:
            AnswerDeferred: Something is.
        """
        if found := await self._open_by_tools(0.0):
            raise self._end(AnswerDeferred(found[0].text))

    async def _open_by_tools(self, wait_seconds: float) -> list[QuestionOut]:
        try:
            opened = await self._insist("", self._list_open, wait_seconds)
        except NotFound:
            # A server of an earlier version, which has no tools.
            return []
        found = [each for each in opened if each.key.startswith(TOOL_QUESTION)]
        for question in found:
            if question.id not in self._shown:
                self._shown.add(question.id)
                await self.say(f"Asks: {question.text[:_SHOWN]}", "asked")
        return found

    async def _list_open(self, wait_seconds: float) -> Sequence[QuestionOut]:
        return await self.client.questions.open_of_run(
            self.execution_id,
            order_id=self.order_id,
            fence=self.fence,
            wait_seconds=wait_seconds,
        )

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def _answered(self, stored: QuestionOut, text: str) -> RunAnswer:
        self._asked.pop(stored.key, None)
        if stored.answer is None:
            # Withdrawn: by ourselves, from another task, or as the order has ended.
            return RunAnswer(decision=AnswerDecision.DENY, text="The question was withdrawn.")
        answer = _answer(stored.answer)
        files = stored.answer.attachments
        if files:
            fetcher = FileFetcher(
                self.client, self.execution_id, self.order_id, self.fence, self.inbox
            )
            told = await self._insist(text, fetcher.with_files, answer.text, files)
            answer = replace(answer, text=told)
        said = answer.text or ", ".join(answer.choices)
        told = f"{answer.decision.value}: {said[:_SHOWN]}" if said else answer.decision.value
        await self.say(f"{answer.author} answered: {told}", "answered")
        if answer.decision is AnswerDecision.EXPIRED:
            raise self._end(AnswerMissed(f"Nobody answered in time: {text}"))
        return answer

    async def _post(self, question: RunQuestion, text: str) -> QuestionOut:
        clean = self.redactor.clean
        body = QuestionIn(
            order_id=self.order_id,
            fence=self.fence,
            key=question.key,
            kind=question.kind,
            text=text,
            options=list(question.options),
            allows_text=question.allows_text,
            allows_several=question.allows_several,
            default_option=question.default_option,
            tool_name=question.tool_name,
            tool_input=clean_value(dict(question.tool_input), clean)
            if question.tool_input is not None
            else None,
            diff=clean(question.diff)[:MAX_QUESTION_DIFF_CHARACTERS] if question.diff else None,
            worktree=self.worktree,
        )
        stored = await self.client.questions.ask(self.execution_id, body)
        self._asked[question.key] = stored.id
        return stored

    async def _wait(self, stored: QuestionOut, left: float) -> QuestionOut:
        return await self.client.questions.wait(
            self.execution_id,
            stored.id,
            order_id=self.order_id,
            fence=self.fence,
            wait_seconds=min(left, MAX_WAIT_SECONDS / 2),
        )

    async def _insist(self, text: str, call: Callable[..., Awaitable[T]], *values: object) -> T:
        """Make a call until it succeeds, or the run is to end."""
        failures = 0
        while True:
            try:
                return await self._unless_stopped(text, call(*values))
            except Conflict:
                # The lease is lost: whoever stops the run hears of it by the next beat.
                await self.stop.wait()
            except TRY_AGAIN as error:
                log.warning("question.not_sent", problem=error.detail, code=error.code)
                pause = asyncio.sleep(_RETRY.pause(failures, error.retry_after))
                failures += 1
                await self._unless_stopped(text, pause)

    async def _unless_stopped(self, text: str, work: Awaitable[T]) -> T:
        doing = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait([doing, stopping], return_when=asyncio.FIRST_COMPLETED)
            if doing.done():
                return doing.result()
            raise self._end(AnswerDeferred(text))
        finally:
            stopping.cancel()
            doing.cancel()
            await asyncio.gather(doing, stopping, return_exceptions=True)

    def _text_of(self, question: RunQuestion) -> str:
        text = question.text.strip() or f"May it use {question.tool_name or 'a tool'}?"
        return self.redactor.clean(text)[:MAX_QUESTION_CHARACTERS]

    def _end(self, why: AnswerDeferred) -> AnswerDeferred:
        self.ended_for = self.ended_for or why
        return why


def _answer(told: AnswerOut) -> RunAnswer:
    return RunAnswer(
        decision=told.decision,
        text=told.text,
        choices=tuple(told.choices),
        updated_input=told.updated_input,
        remember=told.remember,
        author=told.author,
    )

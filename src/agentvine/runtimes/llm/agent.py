"""The built-in agent: asks the model, and does what it wants, until it says ``finish``."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Sequence
from dataclasses import asdict

from agentvine.kit.errors import AppError
from agentvine.kit.process import ExitReason, Watch, WatchTimes
from agentvine.llm import errors
from agentvine.llm.door import Limits, ModelDoor
from agentvine.llm.messages import Conversation, Reply, Stop, ToolCall, ToolResult, Used
from agentvine.protocol.controls import SteeringMessage
from agentvine.protocol.enums import FailureClass
from agentvine.runtimes import events
from agentvine.runtimes.agent_log import AgentLog
from agentvine.runtimes.asking import AnswerDeferred, RunAnswer
from agentvine.runtimes.base import RunContext, RunFailure, RunOutcome
from agentvine.runtimes.llm.own_tools import OwnTools
from agentvine.runtimes.llm.toolbox import Done, Toolbox, as_result

MAX_TURNS = 200
_MAX_CONTEXT_BYTES = 400_000
"""Some hundred thousand tokens: beyond, old results of tools are shortened."""
_NUDGES = 3
"""How often in a row it may stop without having said that it has finished."""
_LOOK_SECONDS = 0.5
_LIMITS = Limits(max_output=16_000)
_GO_ON = (
    "You stopped, but you have not called finish. Go on with the task. When it is done, call "
    "finish; when you cannot go on, call finish and say why not."
)
_CUT_SHORT = "Your reply was cut off at the limit of its length. Go on in smaller steps."

_FAILURES: dict[type[AppError], FailureClass] = {
    errors.ModelLimited: FailureClass.RATE_LIMITED,
    errors.ModelBudgetUsedUp: FailureClass.BUDGET_EXHAUSTED,
    errors.ModelKeyRefused: FailureClass.AUTH_FAILED,
    errors.ModelRequestRefused: FailureClass.MODEL_INVALID,
    errors.ContextTooLong: FailureClass.CONTEXT_OVERFLOW,
    errors.ModelTimedOut: FailureClass.NETWORK_FAILED,
    errors.ModelUnavailable: FailureClass.NETWORK_FAILED,
}


class BuiltInAgent:
    """One run of it."""

    def __init__(
        self,
        context: RunContext,
        door: ModelDoor,
        model: str,
        conversation: Conversation,
        own: OwnTools | None = None,
    ) -> None:
        """Work in this context, with this model, on what the conversation begins with."""
        self._context = context
        self._door = door
        self._model = model
        self._conversation = conversation
        self._log = AgentLog(context.output)
        self._watch = Watch(WatchTimes(total=context.timeout_seconds))
        self._toolbox = Toolbox(context, self._wait_for_person, own)
        self._said: list[str] = []
        """By people, meanwhile."""
        self._usage: dict[str, events.ModelUsage] = {}
        self._calls = 0
        self._turns = 0

    async def run(self) -> RunOutcome:
        """Work until it is through, is stopped, or cannot go on."""
        started, stood_still = time.monotonic(), self._context.pause.stood_still_seconds()
        work = asyncio.create_task(self._work())
        bark = asyncio.create_task(self._watch.bark())
        stop = asyncio.create_task(self._context.stop.wait())
        look = asyncio.create_task(self._follow_pauses())
        try:
            with self._context.mailbox.open_to(self._take):
                await asyncio.wait({work, bark, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, bark, stop, look):
                task.cancel()
            # With the work its tool ends, and all that this has started.
            await asyncio.wait({work, bark, stop, look})
        ran = time.monotonic() - started - (self._context.pause.stood_still_seconds() - stood_still)
        return await self._outcome(work, ran)

    async def _work(self) -> events.Finished | events.Failed:
        try:
            return await self._take_turns()
        except AppError as error:
            kind = _FAILURES.get(type(error), FailureClass.RUNTIME_UNAVAILABLE)
            return events.Failed(
                failure_class=kind, message=error.detail, retry_after_seconds=error.retry_after
            )
        except AnswerDeferred as deferred:
            message = str(deferred) or "The run waits for an answer."
            return events.Failed(failure_class=deferred.failure_class, message=message)

    async def _take_turns(self) -> events.Finished | events.Failed:
        nudges = 0
        for _ in range(MAX_TURNS):
            await self._stand_still()
            self._hear()
            reply = await self._ask_model()
            if not reply.calls:
                nudges += 1
                if nudges > _NUDGES:
                    return _failed("The model stopped several times without finishing the task.")
                self._conversation.say(_CUT_SHORT if reply.stop is Stop.TOO_LONG else _GO_ON)
                continue
            nudges = 0
            summary = await self._use_tools(reply.calls)
            if summary is not None:
                return events.Finished(text=summary)
        return _failed(f"The model did not finish the task within {MAX_TURNS} turns.")

    async def _ask_model(self) -> Reply:
        self._turns += 1
        if cut := self._conversation.shorten(_MAX_CONTEXT_BYTES):
            await self._note(f"{cut} old results of tools were shortened.")
        try:
            reply = await self._complete()
        except errors.ContextTooLong:
            if not self._conversation.shorten(self._conversation.size // 2, keep=2):
                raise
            await self._note("The conversation was too long: old results were shortened.")
            reply = await self._complete()
        await self._count(reply.model or self._model, reply.used)
        if reply.thinking:
            await self._log.keep(events.Thinking(text=reply.thinking))
        if reply.text:
            await self._log.keep(events.AssistantText(text=reply.text))
        return reply

    async def _complete(self) -> Reply:
        return await self._door.complete(
            self._model, self._conversation, tools=self._toolbox.offered, limits=_LIMITS
        )

    async def _use_tools(self, calls: Sequence[ToolCall]) -> str | None:
        """Do what the model wants, one after another; its summary, when it is through."""
        results: list[ToolResult] = []
        summary: str | None = None
        for call in calls:
            self._calls += 1
            given = dict(call.input)
            await self._log.keep(events.ToolCall(id=call.id, name=call.name, input=given))
            if summary is None:
                await self._stand_still()
                done = await self._toolbox.use(call)
            else:
                done = Done("Not done: you had finished.", is_error=True)
            summary = summary or done.summary
            results.append(as_result(call, done))
            await self._log.keep(
                events.ToolResult(
                    id=call.id, output=done.text, is_error=done.is_error, is_denied=done.is_denied
                )
            )
        self._conversation.give(results)
        return summary

    async def _take(self, message: SteeringMessage) -> None:
        self._said.append(f"{message.author} says: {message.text}")

    def _hear(self) -> None:
        if self._said:
            self._conversation.say("\n\n".join(self._said))
            self._said.clear()

    async def _count(self, model: str, used: Used) -> None:
        before = self._usage.get(model, events.ModelUsage())
        self._usage[model] = events.ModelUsage(
            input_tokens=before.input_tokens + used.input - used.cache_read - used.cache_write,
            output_tokens=before.output_tokens + used.output,
            cache_read_tokens=before.cache_read_tokens + used.cache_read,
            cache_write_tokens=before.cache_write_tokens + used.cache_write,
        )
        await self._log.keep(events.UsageTotals(models=dict(self._usage)))

    async def _note(self, text: str) -> None:
        await self._log.keep(events.Notice(text=text))

    async def _wait_for_person(self, answer: Awaitable[RunAnswer]) -> RunAnswer:
        self._watch.pause("question")
        try:
            return await answer
        finally:
            self._watch.resume("question")

    async def _stand_still(self) -> None:
        """Between two steps: nothing is running that could be stopped instead."""
        pause = self._context.pause
        while pause.is_paused:
            pause.settle(stands_still=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await pause.changed.wait()
                    pause.changed.clear()
        pause.settle(stands_still=False)

    async def _follow_pauses(self) -> None:
        """While the run is paused, its time stands still."""
        while True:
            if self._context.pause.is_paused:
                self._watch.pause("paused")
            else:
                self._watch.resume("paused")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _outcome(
        self, work: "asyncio.Task[events.Finished | events.Failed]", seconds: float
    ) -> RunOutcome:
        reason, last = ExitReason.EXITED, _failed("It was stopped.", FailureClass.CANCELLED)
        if not work.cancelled():
            last = work.result()
        elif self._context.stop.is_set():
            reason = ExitReason.CANCELLED
        else:
            reason = ExitReason.TIMEOUT
            limit = self._watch.times.total or 0.0
            message = f"The agent was ended after its time limit of {limit:g} s."
            last = _failed(message, FailureClass.TIMEOUT)
        await self._log.keep(last)
        metrics = {"turns": self._turns, "tool_calls": self._calls}
        usage = {name: asdict(each) for name, each in self._usage.items()}
        is_done = isinstance(last, events.Finished)
        return RunOutcome(
            reason=reason,
            exit_code=(0 if is_done else 1) if reason is ExitReason.EXITED else None,
            duration_seconds=seconds,
            message=last.text.strip()[:500] if isinstance(last, events.Finished) else last.message,
            metrics={**metrics, **({"usage": usage} if usage else {})},
            failure=_as_failure(last, reason),
            told_result=is_done,
        )


def _failed(
    message: str, failure_class: FailureClass = FailureClass.TOOL_FAILED
) -> events.Failed | events.Finished:
    return events.Failed(failure_class=failure_class, message=message)


def _as_failure(last: events.Finished | events.Failed, reason: ExitReason) -> RunFailure | None:
    if isinstance(last, events.Finished) or reason is ExitReason.CANCELLED:
        return None
    return RunFailure(
        last.failure_class,
        last.message,
        retry_at=last.retry_at,
        retry_after_seconds=last.retry_after_seconds,
    )

"""The one way in which agents' programs are driven, whatever language theirs is.

A runtime describes its program as an ``AgentProgram``: what to start, and how to translate between
its lines and our events. It never reads, writes or waits; ``run_agent`` does that, and what holds
for all of them is here once: lines of bounded length, the native lines kept beside ours, questions
that are waited for while the clocks stand still, words of people's on their way, an end in good
order, and success only where the program's own last event says so.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import structlog

from agentvine.kit.process import (
    ExitReason,
    ProcessExit,
    ProgramInput,
    Stream,
    Watchdog,
)
from agentvine.protocol.controls import SteeringMessage
from agentvine.protocol.enums import FailureClass
from agentvine.protocol.runs import RunWatch
from agentvine.protocol.tools import ASK_HUMAN
from agentvine.runtimes.agent_log import AgentLog, LongLines
from agentvine.runtimes.asking import AnswerDeferred, RunAnswer, RunQuestion
from agentvine.runtimes.base import RunContext, RunFailure, RunOutcome
from agentvine.runtimes.events import (
    AgentEvent,
    Asked,
    Failed,
    Finished,
    ModelUsage,
    Notice,
    SessionStarted,
    ToolCall,
    ToolResult,
    UsageTotals,
    Withdrawn,
)
from agentvine.runtimes.runner import Program, describe_end, outcome_of, prepare_program

AGENT_WATCH = RunWatch(
    start_up_seconds=120.0,
    first_event_seconds=300.0,
    # A tool that runs a long test suite prints nothing, and neither does its agent.
    silence_seconds=1800.0,
    after_result_seconds=15.0,
)
_ERROR_LINES = 20
_ASKED = "question"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What follows from something that happened: events of ours, lines for the program."""

    events: Sequence[AgentEvent] = ()
    send: Sequence[str] = ()
    """Written to its standard input, each as a line."""
    ends_input: bool = False
    """Whether its standard input is closed after these."""


NOTHING = Step()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramEnd:
    """How a program ended, for those whose last word is not an event."""

    exited: ProcessExit
    error_lines: Sequence[str]
    """The last of its standard error."""


class AgentProgram(Protocol):
    """One run of an agent's program: what to start, and the translation. It has state of its own.

    A line that it cannot make sense of may raise ValueError, KeyError, TypeError or
    AttributeError: that line is passed over.
    """

    def program(self) -> Program:
        """What to start."""
        ...

    def begin(self) -> Step:
        """What to say first."""
        ...

    def on_line(self, line: str) -> Step:
        """What a line of its standard output means."""
        ...

    def answer(self, question: RunQuestion, answer: RunAnswer) -> Step:
        """How it is told the answer to a question that ``on_line`` gave as ``Asked``."""
        ...

    def steer(self, text: str) -> Step | None:
        """How it is told something by a person; None when it cannot be, now."""
        ...

    def interrupt(self) -> Step | None:
        """How it is asked to end now; None when it knows no words for that."""
        ...

    def on_end(self, end: ProgramEnd, /) -> Sequence[AgentEvent]:
        """What is still to be said when it has ended, above all where no last event came."""
        ...


async def run_agent(context: RunContext, program: AgentProgram) -> RunOutcome:
    """Drive an agent's program to its end.

    Raises:
        Invalid: It could not be started.
    """
    return await _AgentRun(context, program).run()


class _AgentRun:
    """One program while it runs."""

    def __init__(self, context: RunContext, program: AgentProgram) -> None:
        self._context = context
        self._program = program
        access = [context.models.base_url] if context.models else []
        access += [context.mcp.url] if context.mcp else []
        plan = replace(program.program(), servers=access)
        self._stop = asyncio.Event()
        # A third of the grace is for a polite word; signals have the rest.
        self._polite_seconds = context.grace_seconds / 3
        inner = replace(
            context, stop=self._stop, grace_seconds=context.grace_seconds - self._polite_seconds
        )
        self._running = prepare_program(inner, plan)
        self._stdin = ProgramInput() if plan.has_input else None
        self._outbox: asyncio.Queue[Step] = asyncio.Queue()
        self._log = AgentLog(context.output)
        self._lines = LongLines()
        self._error_lines: deque[str] = deque(maxlen=_ERROR_LINES)
        self._last: Finished | Failed | None = None
        """The terminal event."""
        self._has_last = asyncio.Event()
        self._usage: dict[str, ModelUsage] = {}
        self._facts: dict[str, Any] = {"tool_calls": 0, "questions": 0}
        self._questions: dict[str, asyncio.Task[None]] = {}
        self._waiting_calls: dict[str, asyncio.Task[None]] = {}
        """Its calls of our tool that asks, by their ids."""
        self._asks_by_tool = False
        self._deferred: AnswerDeferred | None = None
        self._gives_up = asyncio.Event()

    async def run(self) -> RunOutcome:
        await self._say(self._program.begin())
        async with self._log, self._accompanied():
            ended = await self._running.run(self._on_output, stdin=self._stdin)
        for line in self._lines.finish():
            await self._on_line(line)
        end = ProgramEnd(exited=ended, error_lines=tuple(self._error_lines))
        for event in self._program.on_end(end):
            await self._on_event(event)
        await self._check_answered()
        return self._outcome(ended)

    @asynccontextmanager
    async def _accompanied(self) -> AsyncGenerator[None]:
        """What goes on beside the program's output, for as long as it runs."""
        beside = [asyncio.create_task(self._send()), asyncio.create_task(self._end_in_good_order())]
        try:
            with self._context.mailbox.open_to(self._steer):
                yield
        finally:
            beside += [*self._questions.values(), *self._waiting_calls.values()]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    async def _on_output(self, stream: Stream, chunk: bytes) -> None:
        if stream is Stream.STDERR:
            self._error_lines.extend(await self._log.feed_errors(chunk))
            return
        for line in self._lines.feed(chunk):
            await self._on_line(line)
        if dropped := self._lines.take_dropped():
            await self._on_event(Notice(text=f"{dropped} bytes of a line too long were dropped"))

    async def _on_line(self, line: str) -> None:
        if not line.strip():
            return
        await self._log.keep_raw(line)
        try:
            step = self._program.on_line(line)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            # Another version's, perhaps: the raw line is kept, and the run goes on.
            log.warning("agent.line_not_understood", problem=f"{type(error).__name__}: {error}")
            # No event of its runtime's: whoever prints nothing else has not begun.
            await self._log.keep(Notice(text="A line of its program was not understood."))
            return
        await self._say(step)

    async def _say(self, step: Step) -> None:
        for event in step.events:
            await self._on_event(event)
        if step.send or step.ends_input:
            # Never awaited here: the program may not read before we have read what it says.
            self._outbox.put_nowait(step)

    async def _send(self) -> None:
        while self._stdin is not None:
            step = await self._outbox.get()
            try:
                for line in step.send:
                    await self._stdin.write(line.encode("utf-8", "replace") + b"\n")
            except OSError:
                # It reads no more: how it ends tells why.
                return
            if step.ends_input:
                self._stdin.close()

    async def _on_event(self, event: AgentEvent) -> None:
        await self._log.keep(event)
        if self._last is not None and isinstance(event, Finished | Failed):
            return
        self._running.watch.note_event()
        match event:
            case SessionStarted(session_id=session_id, model=model):
                self._facts["session_id"] = session_id
                await self._context.session.note_session(session_id, model)
            case UsageTotals(models=models):
                self._usage |= models
                self._context.usage.note_usage(models)
            case ToolCall() | ToolResult():
                self._note_call(event)
            case Asked(question=question):
                self._begin_to_ask(question)
            case Withdrawn(key=key):
                if (asking := self._questions.pop(key, None)) is not None:
                    asking.cancel()
                    await self._context.asker.withdraw(key)
            case Finished() | Failed():
                self._last = event
                self._has_last.set()
                self._running.watch.note_result()
            case _:
                pass

    def _note_call(self, event: ToolCall | ToolResult) -> None:
        if isinstance(event, ToolResult):
            if (following := self._waiting_calls.pop(event.id, None)) is not None:
                following.cancel()
            return
        self._facts["tool_calls"] += 1
        if event.name.endswith(ASK_HUMAN):
            self._asks_by_tool = True
            self._waiting_calls[event.id] = asyncio.create_task(self._follow(event.id))

    def _begin_to_ask(self, question: RunQuestion) -> None:
        if question.key in self._questions:
            return
        self._facts["questions"] += 1
        self._questions[question.key] = asyncio.create_task(self._ask(question))

    async def _ask(self, question: RunQuestion) -> None:
        # A person's time is not the agent's: no clock runs while it waits.
        reason = f"{_ASKED} {question.key}"
        self._running.watch.pause(reason)
        try:
            answer = await self._context.asker.ask(question)
        except AnswerDeferred as deferred:
            self._deferred = self._deferred or deferred
            self._gives_up.set()
            return
        finally:
            self._running.watch.resume(reason)
        self._questions.pop(question.key, None)
        await self._say(self._program.answer(question, answer))

    async def _follow(self, call_id: str) -> None:
        """While a call of ours waits for a person, no clock runs either."""
        reason = f"{_ASKED} {call_id}"

        def pause(is_waiting: bool) -> None:
            if is_waiting:
                self._running.watch.pause(reason)
            else:
                self._running.watch.resume(reason)

        try:
            await self._context.tool_questions.follow(pause)
        except AnswerDeferred as deferred:
            self._deferred = self._deferred or deferred
            self._gives_up.set()
        finally:
            self._running.watch.resume(reason)

    async def _check_answered(self) -> None:
        """An agent that ended although nobody has answered it goes on when somebody has."""
        if not self._asks_by_tool or not isinstance(self._last, Finished):
            return
        try:
            await self._context.tool_questions.check()
        except AnswerDeferred as deferred:
            self._deferred = self._deferred or deferred

    async def _steer(self, message: SteeringMessage) -> None:
        step = None if self._last is not None else self._program.steer(message.text)
        if step is None:
            raise OSError("the agent cannot be told anything now")
        await self._say(step)

    async def _end_in_good_order(self) -> None:
        """When the run is to end early: a polite word first, signals after it."""
        stops = [asyncio.create_task(self._context.stop.wait())]
        stops.append(asyncio.create_task(self._gives_up.wait()))
        try:
            await asyncio.wait(stops, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in stops:
                task.cancel()
        if self._last is None and (step := self._program.interrupt()) is not None:
            await self._say(step)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._polite_seconds):
                    await self._has_last.wait()
        self._stop.set()

    def _outcome(self, ended: ProcessExit) -> RunOutcome:
        message, failure = self._judge(ended)
        # Its result stands although it did not know how to end.
        overslept = ended.watchdog is Watchdog.AFTER_RESULT
        outcome = outcome_of(ended, message=message, failure=failure)
        usage = {name: asdict(each) for name, each in self._usage.items()}
        metrics = {**outcome.metrics, **self._facts}
        if usage:
            metrics["usage"] = usage
        if overslept:
            metrics["ended_after_result"] = True
        return replace(
            outcome,
            failure=failure if overslept else outcome.failure,
            metrics=metrics,
            told_result=isinstance(self._last, Finished),
        )

    def _judge(self, ended: ProcessExit) -> tuple[str, RunFailure | None]:
        """One sentence about the end, and why it was no success."""
        if self._deferred is not None:
            message = str(self._deferred) or "The run waits for an answer."
            return message, RunFailure(self._deferred.failure_class, message)
        last = self._last
        if isinstance(last, Failed):
            failure = RunFailure(
                last.failure_class, last.message, last.retry_at, last.retry_after_seconds
            )
            return last.message, failure
        told = describe_end(ended, self._running.watch.times).replace("The command", "The agent")
        is_over = ended.reason is ExitReason.EXITED or ended.watchdog is Watchdog.AFTER_RESULT
        if isinstance(last, Finished) and is_over and not ended.exit_code:
            return last.text.strip()[:500] or "The agent has finished.", None
        if ended.reason in {ExitReason.EXITED, ExitReason.KILLED}:
            before = "" if last is not None else " It did not tell a result before."
            said = f" It last said: {self._error_lines[-1][:500]}" if self._error_lines else ""
            message = f"{told}{before}{said}"
            return message, RunFailure(FailureClass.CRASHED, message)
        # Its time was up, it was silent, it used too much, or it was stopped: that is told already.
        return told, None

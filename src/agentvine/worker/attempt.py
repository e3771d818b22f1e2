"""One attempt at an order, from the work tree to the verdict. What it finds out, it returns."""

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import structlog

from agentvine.git.errors import (
    ExternalContentChanged,
    GitError,
    GitNotFound,
    GitTooOld,
    LargeFilesRefused,
    RefNameInvalid,
    RefNotFound,
    RepositoryUrlInvalid,
    SubmodulesRefused,
)
from agentvine.git.mirrors import tidy_mirror
from agentvine.git.trailers import Trailer, with_trailers
from agentvine.git.worktrees import set_aside
from agentvine.kit.errors import AppError, Invalid
from agentvine.kit.process import ExitReason
from agentvine.protocol.cleaning import cleaned_report
from agentvine.protocol.enums import ExecutionPhase, FailureClass, LogLevel
from agentvine.protocol.queue import (
    ANSWER_FILE,
    ChangeReport,
    ExecutionReport,
    TestReport,
)
from agentvine.protocol.runs import UNWATCHED, RunWatch
from agentvine.runtimes.asking import AnswerDeferred
from agentvine.runtimes.base import RunContext, RunFailure, RunOutcome
from agentvine.runtimes.registry import RuntimeUnknown
from agentvine.runtimes.sandbox import SandboxUnavailable
from agentvine.worker.agents import briefed
from agentvine.worker.answers import read_answer
from agentvine.worker.asking import ServerAsker
from agentvine.worker.change import ChangeTooLarge, describe_change
from agentvine.worker.earlier_work import with_earlier_work
from agentvine.worker.folders import RunFolder
from agentvine.worker.leases import Lease
from agentvine.worker.saying import (
    MAX_LAST_WORDS,
    last_words,
    summary_of_change,
    summary_of_tests,
)
from agentvine.worker.scripts import clean_up_after, left_by_set_up, run_context, set_up
from agentvine.worker.spool import LogSpool
from agentvine.worker.tools import LeaseJournal, StopReason, StopSwitch, WorkerTools
from agentvine.worker.verification import TailSink, run_tests
from agentvine.worker.workspace import Workspace, empty_out, prepare_workspace

T = TypeVar("T")

_MAX_MESSAGE = 10_000
_HURRIED_CLEAN_UP_SECONDS = 10.0
_STOPPED = {
    StopReason.CANCELLED: (FailureClass.CANCELLED, "The run was cancelled."),
    StopReason.LEASE_LOST: (FailureClass.LEASE_LOST, "The lease was lost."),
    StopReason.LEASE_EXPIRED: (
        FailureClass.LEASE_LOST,
        "The worker could not reach the server for as long as its lease, and ended the run.",
    ),
    StopReason.WORKER_STOPPED: (
        FailureClass.WORKER_STOPPED,
        "The worker was stopped before the run was done.",
    ),
    StopReason.BUDGET_EXHAUSTED: (
        FailureClass.BUDGET_EXHAUSTED,
        "The run was stopped: a budget is used up.",
    ),
}

log = structlog.get_logger(__name__)


class RunFailed(Exception):
    """The attempt did not succeed."""

    def __init__(self, failure_class: FailureClass, message: str) -> None:
        """Keep the class and one or two sentences for people."""
        super().__init__(message)
        self.failure = RunFailure(failure_class, message)

    @classmethod
    def by_runtime(cls, failure: RunFailure) -> "RunFailed":
        """As the runtime tells it, with the time when a provider's limit is lifted."""
        failed = cls(failure.failure_class, failure.message)
        failed.failure = failure
        return failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an attempt went, before it is written down as a report."""

    failure: RunFailure | None
    message: str
    report: ExecutionReport

    @property
    def failure_class(self) -> FailureClass | None:
        """Why it did not succeed; None when it did."""
        return self.failure.failure_class if self.failure else None


@dataclass(slots=True)
class _Findings:
    """What is known so far; what a failed attempt reports, too."""

    workspace: Workspace | None = None
    outcome: RunOutcome | None = None
    tests: TestReport | None = None
    head: str | None = None
    metrics: dict[str, Any] = field(default_factory=dict[str, Any])
    answer: str | None = None


class Attempt:
    """Carries out one order."""

    def __init__(
        self,
        tools: WorkerTools,
        folder: RunFolder,
        spool: LogSpool,
        *,
        lease: Lease,
        switch: StopSwitch,
    ) -> None:
        """Prepare; ``carry_out`` does it."""
        self._tools = tools
        self._folder = folder
        self._order = folder.order
        self._spool = spool
        self._lease = lease
        self._switch = switch
        self._found = _Findings()
        self._aside: Path | None = None  # what is left of the work tree

    async def carry_out(self) -> Verdict | None:
        """Do it. None when the result is nobody's business any more: the lease was lost."""
        verdict = await self._judge()
        return None if self._switch.reason is StopReason.LEASE_LOST else verdict

    async def run_clean_up(self) -> None:
        """Run the repository's clean-up command; call it when the verdict is safely on disk."""
        is_hurried = self._switch.reason is StopReason.WORKER_STOPPED
        most = _HURRIED_CLEAN_UP_SECONDS if is_hurried else None
        await clean_up_after(self._tools, self._folder, self._spool, most_seconds=most)

    async def tell(self, verdict: Verdict) -> None:
        """Write the verdict into the log, after all that the programs have said."""
        self._spool.end_output()
        is_error = verdict.failure_class is not None
        await self._say(verdict.message, "failed" if is_error else "done", is_error=is_error)

    async def take_away(self) -> None:
        """Take the work tree away; call it when the verdict is safely on disk."""
        places, repository = self._tools.places.data, self._order.payload.repository
        path = places.worktree(self._order.execution_id)
        mirror = places.mirror(repository.id) if repository else None
        try:
            self._aside = await asyncio.to_thread(set_aside, mirror, path, places.removed)
        except OSError as error:
            # Found by `agentvine doctor`, and removed at the worker's next start.
            log.warning("worktree.not_removed", path=str(path), problem=str(error))

    async def tidy_up(self) -> None:
        """Remove what is left, and keep the mirror in order; when the server knows the outcome."""
        if self._aside is not None:
            await empty_out(self._aside)
        repository = self._order.payload.repository
        if repository is None:
            return
        mirror = self._tools.places.data.mirror(repository.id)
        try:
            if mirror.exists():
                await tidy_mirror(self._tools.git, mirror)
        except (GitError, OSError) as error:
            # It is only slower for that, and tried again after the next run.
            log.warning("mirror.not_tidied", mirror=str(mirror), problem=str(error))

    async def _judge(self) -> Verdict:
        try:
            change = await self._work()
        except RunFailed as failed:
            return await self._failed(failed)
        except (ChangeTooLarge, ExternalContentChanged) as error:
            # The same command would make the same change again.
            return await self._failed(RunFailed(FailureClass.COMMAND_FAILED, error.detail))
        except AppError as error:
            log.warning("run.broke", code=error.code, problem=error.detail)
            return await self._failed(RunFailed(FailureClass.WORKER_ERROR, error.detail))
        except Exception as error:
            # The boundary of a job: the worker lives on, and the order is tried again.
            log.exception("run.crashed")
            message = f"The worker failed unexpectedly: {type(error).__name__}: {error}"
            return await self._failed(RunFailed(FailureClass.WORKER_ERROR, message))
        if self._switch.reason is StopReason.CANCELLED:
            return await self._failed(RunFailed(*_STOPPED[StopReason.CANCELLED]))
        message = summary_of_change(change) if change else self._without_change()
        return Verdict(failure=None, message=message, report=self._report(change))

    def _without_change(self) -> str:
        if not self._order.payload.wants_answer:
            return "Nothing was changed."
        return "It has left its answer." if self._found.answer else f"It has left no {ANSWER_FILE}."

    async def _work(self) -> ChangeReport | None:
        self._folder.note_start()
        workspace = await self._set_up(await self._prepare())
        self._found.workspace = workspace
        await self._run_command(workspace)
        if self._order.payload.wants_answer:
            self._found.answer = await read_answer(workspace.path)
            self._enter(ExecutionPhase.REPORTING)
            return None
        self._found.head = await self._unless_stopped(workspace.commit(self._commit_message()))
        if self._found.head is not None:
            await workspace.require_whole(self._found.head)
            await self._test()
        self._enter(ExecutionPhase.REPORTING)
        return await self._describe(is_partial=False)

    async def _prepare(self) -> Workspace:
        self._enter(ExecutionPhase.PREPARING)
        payload = self._order.payload
        if payload.repository is not None:
            await self._say(f"Getting {payload.repository.name} ready.", "preparing")
        started = time.monotonic()
        preparing = prepare_workspace(self._tools.git, self._tools.places.data, self._order)
        try:
            workspace = await self._unless_stopped(preparing)
        except GitError as error:
            raise RunFailed(_class_of(error), error.detail) from error
        self._found.metrics["prepare_seconds"] = round(time.monotonic() - started, 3)
        if workspace.mirror is not None:
            self._folder.note_workspace(
                base_commit=workspace.base_commit,
                branch=workspace.branch,
                target_branch=workspace.target_branch,
            )
            await self._say(
                f"Working on {workspace.branch}, from {workspace.target_branch} at "
                f"{workspace.base_commit[:12]}.",
                "prepared",
                base_commit=workspace.base_commit,
                seconds=self._found.metrics["prepare_seconds"],
            )
        for note in workspace.notes:
            await self._say(note)
        return workspace

    async def _set_up(self, workspace: Workspace) -> Workspace:
        policy = self._order.payload.workspace
        if not policy.setup_command or workspace.mirror is None:
            return workspace
        started = time.monotonic()
        tail = TailSink(self._spool, max_characters=4 * MAX_LAST_WORDS)
        context = self._context(workspace, tail, policy.setup_timeout_seconds, UNWATCHED)
        outcome = await set_up(self._tools, context, workspace)
        self._found.metrics["setup_seconds"] = round(time.monotonic() - started, 3)
        self._raise_if_stopped()
        if outcome is not None and outcome.reason is ExitReason.LIMIT and outcome.failure:
            raise RunFailed.by_runtime(outcome.failure)
        if outcome is not None and not outcome.is_success:
            # The worker's next attempt, or another worker's, may find the network in order.
            message = f"The set-up failed. {outcome.message}{last_words(tail.text)}"
            raise RunFailed(FailureClass.SETUP_FAILED, message)
        left = await left_by_set_up(workspace)
        self._folder.note_set_up(left)
        return replace(workspace, left_by_set_up=left)

    async def _run_command(self, workspace: Workspace) -> None:
        self._enter(ExecutionPhase.RUNNING)
        payload = self._order.payload
        said = f"Running: {payload.command}" if payload.command else f"Running {payload.runtime}."
        await self._say(said, "started", runtime=payload.runtime)
        tail = TailSink(self._spool, max_characters=4 * MAX_LAST_WORDS)
        started = time.monotonic()
        context = self._context(workspace, tail, payload.timeout_seconds, payload.watch)
        asker = self._asker(workspace)
        context = replace(context, mailbox=self._switch.mailbox, inbox=self._folder.inbox)
        context = replace(context, asker=asker, tool_questions=asker)
        try:
            outcome = await self._run_in(context)
        except AnswerDeferred as deferred:
            raise RunFailed(deferred.failure_class, str(deferred)) from deferred
        except SandboxUnavailable as error:
            raise RunFailed(FailureClass.SANDBOX_UNAVAILABLE, error.detail) from error
        except RuntimeUnknown as error:
            raise RunFailed(FailureClass.RUNTIME_UNAVAILABLE, error.detail) from error
        except Invalid as error:
            raise RunFailed(FailureClass.ORDER_INVALID, error.detail) from error
        self._found.outcome = outcome
        self._found.metrics |= outcome.metrics
        self._note_cpu(outcome)
        if tail.first_at is not None:
            self._found.metrics["first_output_seconds"] = round(tail.first_at - started, 3)
        self._raise_if_waiting(asker)
        self._raise_if_stopped()
        if outcome.failure is not None:
            raise RunFailed.by_runtime(outcome.failure)
        if not outcome.is_success:
            raise RunFailed(FailureClass.COMMAND_FAILED, outcome.message + last_words(tail.text))

    async def _run_in(self, context: RunContext) -> RunOutcome:
        runtime = self._tools.runtimes.get(self._order.payload.runtime)
        if not runtime.is_agent:
            return await runtime.run(context)
        async with briefed(self._tools, self._order, context, self._switch) as told:
            place = self._folder, self._found.workspace
            ready = await with_earlier_work(told, self._tools.client, *place, self._say)
            return await runtime.run(ready)

    def _asker(self, workspace: Workspace) -> ServerAsker:
        async def say(text: str, step: str) -> None:
            await self._say(text, step)

        return ServerAsker(
            client=self._tools.client,
            execution_id=self._order.execution_id,
            order_id=self._order.order_id,
            fence=self._order.fence,
            worktree=str(workspace.path),
            stop=self._switch.event,
            wait_seconds=self._tools.config.answer_wait_seconds,
            redactor=self._tools.redactor,
            inbox=self._folder.inbox,
            say=say,
        )

    def _raise_if_waiting(self, asker: ServerAsker) -> None:
        """End an attempt for the answer it lacks, however its program put it."""
        waiting = asker.ended_for
        if waiting is not None and self._switch.reason in {None, StopReason.WORKER_STOPPED}:
            raise RunFailed(waiting.failure_class, str(waiting))

    async def _test(self) -> None:
        workspace, payload = self._found.workspace, self._order.payload
        assert workspace is not None
        if not payload.test_command or not payload.test_command.strip():
            await self._say(
                "There is a change, and no test command: it is not tested.", "not_tested"
            )
            return
        self._enter(ExecutionPhase.TESTING)
        await self._say(f"Testing: {payload.test_command}", "testing")
        context = self._context(
            workspace,
            TailSink(self._spool),
            float(payload.test_timeout_seconds),
            # Tests may be silent for as long as they like.
            UNWATCHED,
        )
        tests, outcome = await run_tests(context, payload.test_command, self._folder.junit)
        self._found.tests = tests
        self._found.metrics["test_seconds"] = tests.duration_seconds
        self._note_cpu(outcome)
        self._raise_if_stopped()
        if outcome.reason is ExitReason.TIMEOUT:
            limit = f"{payload.test_timeout_seconds} s"
            raise RunFailed(
                FailureClass.TIMEOUT, f"The tests were ended after their time limit of {limit}."
            )
        if outcome.failure is not None:
            raise RunFailed.by_runtime(outcome.failure)
        if not tests.passed:
            raise RunFailed(FailureClass.TESTS_FAILED, summary_of_tests(tests))
        await self._say(
            summary_of_tests(tests), "tested", total=tests.total, seconds=tests.duration_seconds
        )

    def _note_cpu(self, outcome: RunOutcome) -> None:
        """The run's and its tests' processor time, together."""
        used = self._found.metrics.get("cpu_seconds", 0.0) + outcome.cpu_seconds
        self._found.metrics["cpu_seconds"] = round(used, 3)

    async def _failed(self, failed: RunFailed) -> Verdict:
        """Keep what there is, in the mirror and in the report."""
        self._enter(ExecutionPhase.REPORTING)
        change: ChangeReport | None = None
        message = failed.failure.message
        try:
            change = await self._keep_partial_work()
        except (AppError, OSError) as error:
            log.warning("run.work_not_kept", problem=str(error))
            message += f" Its unfinished work could not be kept: {error}"
        except Exception:
            # The boundary of a job: the failure itself is still to be reported.
            log.exception("run.work_not_kept")
        message = self._tools.redactor.clean(message)[:_MAX_MESSAGE]
        return Verdict(failure=failed.failure, message=message, report=self._report(change))

    async def _keep_partial_work(self) -> ChangeReport | None:
        workspace = self._found.workspace
        is_kept = not self._order.payload.wants_answer
        if workspace is None or workspace.mirror is None or not is_kept:
            return None
        if self._found.head is None:
            self._found.head = await workspace.rescue(self._commit_message())
        return await self._describe(is_partial=True)

    async def _describe(self, *, is_partial: bool) -> ChangeReport | None:
        workspace, head = self._found.workspace, self._found.head
        if workspace is None or head is None:
            return None
        return await describe_change(workspace, head, self._folder.bundle, is_partial=is_partial)

    def _report(self, change: ChangeReport | None) -> ExecutionReport:
        found, outcome = self._found, self._found.outcome
        metrics = {**found.metrics, "changed": change is not None}
        if self._spool.dropped_count:
            metrics["log_lines_dropped"] = self._spool.dropped_count
        report = ExecutionReport(
            exit_code=outcome.exit_code if outcome else None,
            duration_seconds=round(outcome.duration_seconds, 3) if outcome else 0.0,
            peak_memory_bytes=outcome.peak_memory_bytes if outcome else None,
            metrics=metrics,
            tests=found.tests,
            change=change,
            answer=found.answer,
        )
        return cleaned_report(report, self._tools.redactor.clean)

    def _context(
        self, workspace: Workspace, output: TailSink, seconds: float, watch: RunWatch
    ) -> RunContext:
        try:
            context = run_context(self._tools, self._folder, workspace.path, output, seconds)
        except SandboxUnavailable as error:
            raise RunFailed(FailureClass.SANDBOX_UNAVAILABLE, error.detail) from error
        return replace(
            context,
            stop=self._switch.event,
            journal=LeaseJournal(self._tools.journal, self._lease),
            watch=watch,
            pause=self._switch.pause,
        )

    def _enter(self, phase: ExecutionPhase) -> None:
        self._lease.phase = phase
        log.debug("run.advanced", phase=phase.value)

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for our own work, but not longer than until the run is to stop."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._switch.event.wait())
        try:
            await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
                self._raise_if_stopped()
            return task.result()
        finally:
            stopping.cancel()

    def _raise_if_stopped(self) -> None:
        if self._switch.reason is not None:
            raise RunFailed(*_STOPPED[self._switch.reason])

    async def _say(
        self, text: str, step: str | None = None, *, is_error: bool = False, **facts: object
    ) -> None:
        """Say something in the log; a step is shown in the attempt's timeline as well."""
        level = LogLevel.ERROR if is_error else LogLevel.INFO
        metadata = {"step": step, **facts} if step is not None else None
        await self._spool.write("system", text, level=level, metadata=metadata)

    def _commit_message(self) -> str:
        payload = self._order.payload
        return with_trailers(
            f"{payload.title} ({payload.task_ref})",
            {Trailer.TASK: payload.task_id, Trailer.EXECUTION: self._order.execution_id},
        )


def _class_of(error: GitError) -> FailureClass:
    match error:
        case RefNotFound():
            return FailureClass.BRANCH_NOT_FOUND
        case RefNameInvalid() | RepositoryUrlInvalid():
            return FailureClass.ORDER_INVALID
        case SubmodulesRefused() | LargeFilesRefused():
            return FailureClass.REPOSITORY_UNSUPPORTED
        case GitNotFound() | GitTooOld():
            return FailureClass.WORKER_ERROR
        case _:
            return FailureClass.REPOSITORY_UNAVAILABLE

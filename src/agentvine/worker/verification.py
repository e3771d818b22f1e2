"""The project's own tests, run on the committed change, and what they said."""

import asyncio
import shlex
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast
from xml.etree.ElementTree import Element, ParseError

import structlog
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import parse

from agentvine.protocol.enums import LogLevel
from agentvine.protocol.executions import DETAIL_STREAMS
from agentvine.protocol.queue import TestCaseOut, TestReport
from agentvine.runtimes.base import OutputSink, RunContext, RunOutcome
from agentvine.runtimes.shell import ShellRun, run_shell

_TAIL_CHARACTERS = 20_000
_MAX_JUNIT_BYTES = 64 * 1024 * 1024
_MAX_CASES = 200
_MAX_MESSAGE = 2000

log = structlog.get_logger(__name__)


class TailSink:
    """Passes lines on, and keeps the last ones."""

    def __init__(self, sink: OutputSink, *, max_characters: int = _TAIL_CHARACTERS) -> None:
        """Pass on to a sink."""
        self._sink = sink
        self._lines: deque[str] = deque()
        self._characters = 0
        self._max_characters = max_characters
        self.first_at: float | None = None
        """When the first line came, by the monotonic clock."""

    @property
    def text(self) -> str:
        """The last lines."""
        return "\n".join(self._lines)

    async def write(
        self,
        stream: str,
        message: str,
        *,
        level: LogLevel = LogLevel.INFO,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep and pass on."""
        if self.first_at is None:
            self.first_at = time.monotonic()
        if stream not in DETAIL_STREAMS:
            self._keep(message)
        await self._sink.write(stream, message, level=level, metadata=metadata)

    def _keep(self, message: str) -> None:
        self._lines.append(message)
        self._characters += len(message) + 1
        while len(self._lines) > 1 and self._characters > self._max_characters:
            self._characters -= len(self._lines.popleft()) + 1


async def run_tests(
    context: RunContext, command: str, junit: Path
) -> tuple[TestReport, RunOutcome]:
    """Run a test command in the run's work tree; its output goes to the stream ``test``.

    Args:
        context: The run; its sink should be a ``TailSink`` when the tail is to be reported.
        command: The command.
        junit: Where pytest, should the command be or start one, is told to write its results.
    """
    await asyncio.to_thread(junit.unlink, missing_ok=True)
    run = ShellRun(
        command=command,
        timeout_seconds=context.timeout_seconds,
        # Read by any pytest that the command starts, whatever is around it.
        extra_environment={"PYTEST_ADDOPTS": f"--junitxml={shlex.quote(str(junit))}"},
        stream="test",
    )
    outcome = await run_shell(context, run)
    tail = context.output.text if isinstance(context.output, TailSink) else ""
    report = TestReport(
        command=command,
        exit_code=outcome.exit_code,
        passed=outcome.is_success,
        duration_seconds=round(outcome.duration_seconds, 3),
        output_tail=tail[-_TAIL_CHARACTERS:],
    )
    return await asyncio.to_thread(_with_junit, report, junit), outcome


def _with_junit(report: TestReport, junit: Path) -> TestReport:
    suites = _read_suites(junit)
    if not suites:
        return report
    failures, errors = _sum(suites, "failures"), _sum(suites, "errors")
    return report.model_copy(
        update={
            "source": "junit",
            "total": _sum(suites, "tests"),
            "failures": failures,
            "errors": errors,
            "skipped": _sum(suites, "skipped"),
            # A command may hide its tests' exit code, as in `pytest | tee log`.
            "passed": report.passed and not failures and not errors,
            "failed_cases": [case for suite in suites for case in _failed(suite)][:_MAX_CASES],
        }
    )


def _read_suites(junit: Path) -> list[Element]:
    try:
        if junit.stat().st_size > _MAX_JUNIT_BYTES:
            log.warning("tests.junit_too_large", path=str(junit))
            return []
        root = cast("Element", parse(junit).getroot())
    except OSError:
        return []
    except (ParseError, DefusedXmlException, ValueError) as error:
        # The tests may have been killed in the middle of writing it.
        log.warning("tests.junit_unreadable", problem=str(error))
        return []
    return [root] if root.tag == "testsuite" else root.findall("testsuite")


def _sum(suites: list[Element], attribute: str) -> int:
    values = (suite.get(attribute, "0") for suite in suites)
    return sum(int(value) for value in values if value.isdigit())


def _failed(suite: Element) -> list[TestCaseOut]:
    cases: list[TestCaseOut] = []
    for case in suite.iter("testcase"):
        for outcome in ("failure", "error"):
            problem = case.find(outcome)
            if problem is not None:
                name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
                message = problem.get("message") or problem.text or ""
                cases.append(
                    TestCaseOut(name=name, outcome=outcome, message=message[:_MAX_MESSAGE])
                )
    return cases

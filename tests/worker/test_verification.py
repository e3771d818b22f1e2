"""The tests of a change: what pytest writes is read, else the exit code counts."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from agentvine.kit.ids import new_id
from agentvine.protocol.enums import TaskType
from agentvine.protocol.queue import OrderPayload
from agentvine.protocol.queue import TestReport as Report
from agentvine.runtimes.base import RunContext
from agentvine.worker.verification import TailSink, run_tests
from tests.runtimes.conftest import KeptLines

RunTests = Callable[[str], "asyncio.Future[Report]"]
PYTEST = f"'{sys.executable}' -m pytest -p no:cacheprovider -p no:randomly"


@pytest.fixture
def run(tmp_path: Path) -> RunTests:
    worktree = tmp_path / "work tree"
    worktree.mkdir()

    async def run(command: str) -> Report:
        payload = OrderPayload(
            task_id=new_id(),
            task_ref="T-1",
            title="t",
            task_type=TaskType.TEST,
            runtime="command",
            timeout_seconds=60,
            test_timeout_seconds=60,
        )
        context = RunContext(
            run_id=f"run-{new_id().hex}",
            execution_id=str(new_id()),
            worktree=worktree,
            payload=payload,
            output=TailSink(KeptLines()),
            stop=asyncio.Event(),
            timeout_seconds=60,
        )
        report, _ = await run_tests(context, command, tmp_path / "run folder" / "junit.xml")
        return report

    (tmp_path / "run folder").mkdir()
    (worktree / "test_it.py").write_text(
        dedent("""
        import pytest

        def test_good(): pass

        def test_bad(): assert 1 == 2, "numbers differ"

        @pytest.fixture
        def broken(): raise RuntimeError("no fixture")

        def test_broken(broken): pass

        @pytest.mark.skip(reason="later")
        def test_later(): pass
        """)
    )
    return lambda command: asyncio.ensure_future(run(command))


async def test_pytest_is_read_case_by_case(run: RunTests):
    report = await run(f"{PYTEST} test_it.py")
    assert (report.passed, report.source, report.exit_code) == (False, "junit", 1)
    assert (report.total, report.failures, report.errors, report.skipped) == (4, 1, 1, 1)
    assert [(case.name, case.outcome) for case in report.failed_cases] == [
        ("test_it::test_bad", "failure"),
        ("test_it::test_broken", "error"),
    ]
    assert "numbers differ" in report.failed_cases[0].message
    assert "numbers differ" in report.output_tail


async def test_a_hidden_exit_code_does_not_make_red_tests_green(run: RunTests):
    report = await run(f"{PYTEST} test_it.py | cat")
    assert report.exit_code == 0
    assert not report.passed


async def test_green_tests_pass(run: RunTests):
    report = await run(f"{PYTEST} test_it.py -k good")
    assert (report.passed, report.total, report.failures) == (True, 1, 0)


async def test_a_failing_command_after_green_tests_is_a_failure(run: RunTests):
    report = await run(f"{PYTEST} test_it.py -k good && exit 7")
    assert (report.passed, report.exit_code, report.failures) == (False, 7, 0)


async def test_without_pytest_the_exit_code_counts(run: RunTests):
    report = await run("echo fine")
    assert (report.passed, report.source, report.total) == (True, "exit_code", None)
    assert not (await run("exit 2")).passed


@pytest.mark.parametrize(
    "content",
    [
        "",
        "<testsuites><testsuite tests='3'",
        "<!DOCTYPE x [<!ENTITY a 'b'>]><testsuite>&a;</testsuite>",
    ],
)
async def test_a_damaged_or_hostile_result_file_is_passed_over(run: RunTests, content: str):
    command = f"""path=$(printf %s "$PYTEST_ADDOPTS" | sed "s/^--junitxml='//; s/'$//")
    cat > "$path" <<'END'
{content}
END"""
    report = await run(command)
    assert (report.passed, report.source) == (True, "exit_code")


async def test_only_the_end_of_long_output_is_kept(run: RunTests):
    report = await run("seq 100000")
    assert report.output_tail.endswith("99999\n100000")
    assert len(report.output_tail) <= 20_000

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentvine.kit.process import ExitReason, Stream
from agentvine.protocol.executions import MAX_LINE_CHARACTERS
from agentvine.runtimes.base import RunContext
from agentvine.runtimes.command.driver import CommandMissing, CommandRuntime
from agentvine.runtimes.registry import RuntimeUnknown, builtin_runtimes
from agentvine.runtimes.shell import LineWriter

MakeContext = Callable[..., RunContext]


async def test_a_command_changes_the_work_tree_and_its_streams_are_kept_apart(
    make_context: MakeContext, sink, tmp_path: Path
):
    outcome = await CommandRuntime().run(
        make_context("echo out; echo problem >&2; printf 'no end'; pwd > where")
    )
    assert outcome.is_success
    assert sink.of("stdout") == ["out", "no end"]
    assert sink.of("stderr") == ["problem"]
    assert (tmp_path / "where").read_text().strip() == str(tmp_path)


async def test_the_environment_is_an_allow_list_with_the_ids_of_the_run(
    make_context: MakeContext, sink, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AGENTVINE_TOKEN", "avw_secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("TZ", "Europe/Lisbon")
    context = make_context("env")
    await CommandRuntime().run(context)
    variables = dict(line.split("=", 1) for line in sink.of("stdout"))
    assert variables["AGENTVINE_TASK_ID"] == str(context.payload.task_id)
    assert variables["AGENTVINE_EXECUTION_ID"] == context.execution_id
    assert variables["AGENTVINE_RUN_ID"] == context.run_id
    assert variables["TZ"] == "Europe/Lisbon"
    assert "PATH" in variables
    assert not {"AGENTVINE_TOKEN", "AWS_SECRET_ACCESS_KEY"} & set(variables)


async def test_duration_and_peak_memory_are_measured(make_context: MakeContext):
    grow = "import time; kept = bytearray(80_000_000); time.sleep(0.2)"
    outcome = await CommandRuntime().run(make_context(f"{sys.executable} -c '{grow}'"))
    assert 0.2 <= outcome.duration_seconds < 20
    assert outcome.peak_memory_bytes is not None
    assert 80_000_000 < outcome.peak_memory_bytes < 400_000_000


async def test_a_failing_command_tells_its_exit_code(make_context: MakeContext):
    outcome = await CommandRuntime().run(make_context("exit 3"))
    assert not outcome.is_success
    assert (outcome.reason, outcome.exit_code) == (ExitReason.EXITED, 3)
    assert "exit code 3" in outcome.message


async def test_a_command_killed_from_outside_says_by_which_signal(make_context: MakeContext):
    outcome = await CommandRuntime().run(make_context("kill -9 $$"))
    assert (outcome.reason, outcome.exit_code, outcome.signal) == (ExitReason.KILLED, None, 9)
    assert "signal 9" in outcome.message


async def test_the_time_limit_ends_the_whole_group_even_when_it_ignores_sigterm(
    make_context: MakeContext, tmp_path: Path
):
    command = "trap '' TERM; (trap '' TERM; sleep 30; touch late) & sleep 30"
    context = make_context(command, timeout_seconds=0.2, grace_seconds=0.2)
    started = time.monotonic()
    outcome = await CommandRuntime().run(context)
    assert outcome.reason is ExitReason.TIMEOUT
    assert "0.2 s" in outcome.message
    assert time.monotonic() - started < 5
    assert not (tmp_path / "late").exists()


async def test_a_stopped_command_may_clean_up_before_it_ends(
    make_context: MakeContext, tmp_path: Path, sink
):
    context = make_context("trap 'touch cleaned; exit 0' TERM; echo ready; sleep 30 & wait")
    running = asyncio.ensure_future(CommandRuntime().run(context))
    await sink.has_lines.wait()
    context.stop.set()
    outcome = await running
    assert outcome.reason is ExitReason.CANCELLED
    assert not outcome.is_success
    assert (tmp_path / "cleaned").exists()


async def test_processes_left_in_the_background_are_ended_and_counted(make_context: MakeContext):
    outcome = await CommandRuntime().run(make_context("sleep 30 >/dev/null 2>&1 & echo ok"))
    assert outcome.is_success
    assert outcome.metrics == {"leftover_processes": 1}


async def test_binary_output_and_very_long_lines_survive(make_context: MakeContext, sink):
    await CommandRuntime().run(
        make_context("printf '\\000\\377\\376x\\n'; head -c 100000 /dev/zero | tr '\\0' y; echo")
    )
    first, *parts = sink.of("stdout")
    assert first == "\ufffd\ufffdx"
    assert "".join(parts) == "y" * 100_000
    assert all(len(part) <= MAX_LINE_CHARACTERS for part in parts)
    assert [bool(item) for item in sink.metadata] == [False] + [True] * (len(parts) - 1) + [False]


async def test_a_prompt_without_line_end_is_shown_after_a_moment(sink):
    async with LineWriter(sink, "test", quiet_seconds=0.02) as lines:
        await lines.feed(Stream.STDOUT, b"Continue? ")
        await sink.has_lines.wait()
        assert sink.of("test") == ["Continue? "]
        await lines.feed(Stream.STDOUT, b"yes\nno end")
    assert sink.of("test") == ["Continue? ", "yes", "no end"]


@pytest.mark.parametrize("command", [None, "", "  \n"])
async def test_a_task_without_a_command_is_refused(make_context: MakeContext, command: str | None):
    with pytest.raises(CommandMissing, match="--command"):
        await CommandRuntime().run(make_context(command))


async def test_the_command_runtime_is_there_and_an_unknown_one_is_named():
    registry = builtin_runtimes()
    info = await registry.get("command").detect()
    assert info.is_available
    with pytest.raises(RuntimeUnknown, match="command"):
        registry.get("nonsense")

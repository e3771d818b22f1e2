"""mini-swe-agent and aider themselves: a job, a budget that is used up, a stop."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agentvine.llm.scripted import parse_script
from agentvine.llm.scripted.serving import serving
from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.registry import builtin_runtimes
from tests.clis.driving import Drive
from tests.clis.hostile import bring_settings
from tests.support.repositories import make_repo

USAGE = "usage: {input: 1111, output: 22, cache_read: 333, reasoning: 5}\n"
JOBS = {
    "mini-swe-agent": USAGE
    + """
turns:
  - text: I write it.
    calls: [{tool: bash, input: {command: "echo hello > hello.txt"}}]
  - text: Done.
    calls: [{tool: bash, input: {command: "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT; echo ok"}}]
""",
    "aider": USAGE
    + """
turns:
  - text: |
      I write it.

      hello.txt
      ```
      hello
      ```
""",
}
REFUSED = """
turns:
  - text: "not reached"
    faults:
      - status: 402
        times: forever
        type: billing_error
        code: budget_exceeded
        message: "AgentVine: budget exceeded for this task."
        headers: {x-should-retry: "false"}
"""
SLOW = """
turns:
  - text: "not reached"
    faults: [{status: 500, times: forever, delay: 600}]
"""
MakeDrive = Callable[[str, str], Drive]


@pytest.fixture
async def drive(
    installed: Callable[..., list[Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[MakeDrive]:
    repo = make_repo(tmp_path / "repository", {"README.md": "A repository.\n"})
    async with serving(parse_script(REFUSED)) as (upstream, url, _):

        def make(name: str, script: str) -> Drive:
            monkeypatch.setenv("PATH", os.pathsep.join(map(str, installed(name))), os.pathsep)
            monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
            # Their login shells would read the user's files, and be killed at it.
            monkeypatch.setenv("HOME", str(tmp_path))
            upstream.play(parse_script(script))
            (tmp_path / "home").mkdir(exist_ok=True)
            runtime = builtin_runtimes().get(name)
            return Drive(runtime, repo.path, tmp_path / "home", url, upstream, "scripted")

        yield make


@pytest.mark.parametrize("name", JOBS)
async def test_it_does_a_job_through_the_gateway(name: str, drive: MakeDrive):
    run = drive(name, JOBS[name])
    info = await run.runtime.detect()
    assert (info.is_available, info.version) == (True, info.pinned_version)

    outcome, asker = await run.run("Write hello to hello.txt.")

    assert outcome.is_success, f"{outcome}\n{run.log.tail}"
    assert (run.worktree / "hello.txt").read_text() == "hello\n"
    assert asker.asked == []
    assert any("I write it." in event["text"] for event in run.log.of_type("assistant_text"))
    assert len({each.key_id for each in run.upstream.requests}) == 1
    told = [each.usage for each in run.upstream.requests]
    assert all(usage is not None for usage in told), "each call was told what it used"
    if name == "mini-swe-agent":
        [counts] = outcome.metrics["usage"].values()
        assert counts["output_tokens"] == sum(each.tokens_out for each in told if each)
        tokens_in = counts["input_tokens"] + counts["cache_read_tokens"]
        assert tokens_in == sum(each.tokens_in for each in told if each)
        assert len(run.log.of_type("tool_call")) == 2
    else:
        assert "usage" not in outcome.metrics, "it tells round numbers only"


@pytest.mark.parametrize("name", JOBS)
async def test_a_budget_that_is_used_up_ends_it(name: str, drive: MakeDrive):
    run = drive(name, REFUSED)

    outcome, _ = await run.run("Write hello.")

    assert outcome.failure is not None, run.log.tail
    assert outcome.failure.failure_class is FailureClass.BUDGET_EXHAUSTED
    assert "budget exceeded for this task" in outcome.failure.message
    assert outcome.duration_seconds < 60, "it does not go through all that it would try"


@pytest.mark.parametrize("name", JOBS)
async def test_it_is_stopped_with_all_that_it_started(name: str, drive: MakeDrive):
    run = drive(name, SLOW)
    running = asyncio.create_task(run.run("Take your time."))
    async with asyncio.timeout(120):
        while not run.upstream.requests:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.05)
    run.stop.set()
    outcome, _ = await running
    assert not outcome.is_success


@pytest.mark.parametrize("name", JOBS)
async def test_a_repository_s_own_settings_run_nothing(name: str, drive: MakeDrive):
    run = drive(name, JOBS[name])
    bring_settings(run.worktree, name)
    before = {path.name for path in run.worktree.iterdir()}

    outcome, _ = await run.run("Write hello to hello.txt.")

    assert outcome.is_success, f"{outcome}\n{run.log.tail}"
    left = {path.name for path in run.worktree.iterdir()} - before
    assert {name for name in left if not name.startswith(".aider")} == {"hello.txt"}

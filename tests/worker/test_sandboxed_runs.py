"""Orders that ask for a sandbox, limits or watchdogs, carried out by a worker."""

from pathlib import Path

import pytest

from agentvine.protocol.enums import FailureClass
from agentvine.protocol.runs import OrderedLimits, OrderedSandbox, OrderedWatch
from agentvine.runtimes.sandbox import SandboxUnavailable, find_bubblewrap
from tests.support.repositories import Repo
from tests.worker.conftest import StartWorker
from tests.worker.support.wire_server import WireServer, source_of
from tests.worker.test_runs import assert_nothing_is_left, carry_out

pytestmark = pytest.mark.timeout(120)


async def has_sandbox() -> bool:
    try:
        await find_bubblewrap()
    except SandboxUnavailable:
        return False
    return True


async def test_a_sandboxed_run_is_tested_in_its_sandbox_and_committed_by_the_worker(
    server: WireServer, start_worker: StartWorker, repo: Repo, data_dir: Path
):
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(repo.path),
        command=f"echo $HOME; ls '{data_dir}/workers/w1' '{data_dir}/workers/w1/runs/'*; "
        "git status --short && echo new > new.txt",
        test_command="test -f new.txt && echo $HOME",
        sandbox=OrderedSandbox(),
    )
    if not await has_sandbox():
        assert order.fail is not None
        assert order.fail.failure_class is FailureClass.SANDBOX_UNAVAILABLE
        return
    assert order.complete is not None, order.logs
    assert order.logs["stdout"][0] == "/home/agent"
    names = {line for line in order.logs["stdout"] if line and "/" not in line}
    assert names == {"runs", "inbox", "shared"}, (
        "of the worker's own files only the way to what it may write, and to what it is told"
    )
    assert order.logs["test"] == ["/home/agent"]
    assert [file.path for file in order.report.change.files] == ["new.txt"]
    assert_nothing_is_left(data_dir)


async def test_without_bubblewrap_a_sandboxed_order_is_refused_and_nothing_of_it_runs(
    server: WireServer,
    start_worker: StartWorker,
    repo: Repo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("git", "sh"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    monkeypatch.setenv("PATH", str(programs))
    started = tmp_path / "started"
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(repo.path),
        command=f"touch {started}",
        sandbox=OrderedSandbox(),
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.SANDBOX_UNAVAILABLE
    assert "install the package bubblewrap" in order.fail.message
    assert not started.exists()


async def test_a_breach_of_a_limit_is_reported_as_what_it_is(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(repo.path),
        command="dd if=/dev/zero of=large bs=100k count=30 2>/dev/null; kill -XFSZ $$",
        limits=OrderedLimits(file_mib=1),
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.LIMIT_EXCEEDED
    assert "a file larger than 1024 KiB" in order.fail.message


async def test_a_silent_command_is_ended_by_its_tasks_watchdog(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    order = await carry_out(
        server,
        start_worker,
        repository=source_of(repo.path),
        command="echo begun; sleep 60",
        watch=OrderedWatch(silence_seconds=0.5),
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.SILENCE_TIMEOUT
    assert "silent for 0.5 s" in order.fail.message

"""Set-up before a run and clean-up after it, by the repository's own commands."""

from pathlib import Path

import pytest

from agentvine.protocol.enums import FailureClass
from agentvine.protocol.queue import RepositorySource
from agentvine.protocol.runs import OrderedWorkspace
from agentvine.worker.places import DataPlaces
from tests.support.repositories import Repo
from tests.worker.conftest import SpawnWorker, StartWorker
from tests.worker.support.wire_server import WireServer, source_of
from tests.worker.test_runs import assert_nothing_is_left, carry_out

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]


@pytest.fixture
def source(repo: Repo) -> RepositorySource:
    return source_of(repo.path)


async def test_set_up_comes_before_the_command_and_is_no_part_of_the_change(
    server: WireServer, start_worker: StartWorker, source: RepositorySource, data_dir: Path
):
    order = await carry_out(
        server,
        start_worker,
        repository=source,
        command="cat tools/made '[a]*' > new.txt",
        test_command="test -f tools/made",
        workspace=OrderedWorkspace(
            setup_command="mkdir tools; echo one | tee tools/made; echo two > '[a]*'",
            cleanup_command="cat new.txt",
        ),
    )
    assert order.complete is not None, order.logs
    assert [file.path for file in order.report.change.files] == ["new.txt"]
    assert order.logs["setup"] == ["one"]
    assert order.logs["cleanup"] == ["one", "two"]
    assert order.report.metrics["setup_seconds"] >= 0
    told = [step for step in order.steps if "set" in step or "clean" in step]
    assert told == ["setting_up", "set_up", "cleaning_up", "cleaned_up"]
    assert_nothing_is_left(data_dir)


async def test_a_failed_set_up_is_told_apart_and_nothing_else_is_run(
    server: WireServer, start_worker: StartWorker, source: RepositorySource, tmp_path: Path
):
    trace = tmp_path / "ran"
    order = await carry_out(
        server,
        start_worker,
        repository=source,
        command=f"echo command >> {trace}",
        workspace=OrderedWorkspace(
            setup_command="touch litter; echo no such package >&2; exit 7",
            cleanup_command=f"echo cleanup >> {trace}",
        ),
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.SETUP_FAILED
    assert "exit code 7" in order.fail.message
    assert "no such package" in order.fail.message
    assert order.report.change is None
    assert trace.read_text() == "cleanup\n"


async def test_set_up_has_a_time_limit_of_its_own(
    server: WireServer, start_worker: StartWorker, source: RepositorySource
):
    order = await carry_out(
        server,
        start_worker,
        repository=source,
        command="true",
        workspace=OrderedWorkspace(setup_command="sleep 600", setup_timeout_seconds=1),
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.SETUP_FAILED
    assert "time limit of 1 s" in order.fail.message


async def test_what_set_up_made_is_there_for_the_next_run_without_it(
    server: WireServer, start_worker: StartWorker, source: RepositorySource, repo: Repo
):
    repo.commit({"uv.lock": "1"})
    workspace = OrderedWorkspace(
        setup_command="mkdir .venv; pwd > .venv/made; echo set up",
        cached_paths=[".venv"],
        cache_key_files=["uv.lock"],
    )
    work = {
        "repository": source,
        "command": 'test "$(cat .venv/made)" = "$(pwd)" && echo poison > .venv/made && touch x',
        "workspace": workspace,
    }
    first = await carry_out(server, start_worker, **work)
    second = await carry_out(server, start_worker, **work)
    repo.commit({"uv.lock": "2"})
    third = await carry_out(server, start_worker, **work)
    orders = [first, second, third]
    assert [order.logs.get("setup") for order in orders] == [["set up"], None, ["set up"]]
    for order in orders:
        assert order.complete is not None, order.logs
        assert [file.path for file in order.report.change.files] == ["x"]


async def test_a_worker_may_keep_nothing(
    server: WireServer, start_worker: StartWorker, source: RepositorySource, data_dir: Path
):
    workspace = OrderedWorkspace(setup_command="mkdir .venv; echo set up", cached_paths=[".venv"])
    added = server.add(repository=source, command="true", workspace=workspace)
    async with start_worker(max_cache_bytes=0):
        await server.until(lambda: added.is_done)
    assert added.logs["setup"] == ["set up"]
    assert not DataPlaces(data_dir).cache.exists()


async def test_clean_up_runs_after_a_failure_and_its_own_failure_changes_nothing(
    server: WireServer, start_worker: StartWorker, source: RepositorySource, data_dir: Path
):
    order = await carry_out(
        server,
        start_worker,
        repository=source,
        command="exit 3",
        workspace=OrderedWorkspace(cleanup_command="echo cleaning; exit 4"),
    )
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.COMMAND_FAILED
    assert order.logs["cleanup"] == ["cleaning"]
    assert "The clean-up failed: The command ended with exit code 4." in order.logs["system"]
    assert order.steps[-3:] == ["cleaning_up", "not_cleaned_up", "failed"]
    assert_nothing_is_left(data_dir)


async def test_a_cancelled_run_is_cleaned_up_for_no_longer_than_its_limit(
    server: WireServer, start_worker: StartWorker, source: RepositorySource, data_dir: Path
):
    order = server.add(
        repository=source,
        command="echo begun; sleep 600",
        workspace=OrderedWorkspace(
            cleanup_command="echo cleaning; sleep 600", cleanup_timeout_seconds=2
        ),
    )
    async with start_worker():
        await server.until(lambda: "begun" in order.said("stdout"))
        order.is_cancelled = True
        await server.until(lambda: order.is_done)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.CANCELLED
    assert "time limit of 2 s" in order.said("system")
    assert_nothing_is_left(data_dir)


@pytest.mark.slow
async def test_what_a_dead_worker_left_is_cleaned_up_by_the_next_one(
    server: WireServer,
    start_worker: StartWorker,
    spawn_worker: SpawnWorker,
    source: RepositorySource,
    tmp_path: Path,
):
    trace = tmp_path / "cleaned"
    order = server.add(
        repository=source,
        command="echo begun; sleep 600",
        workspace=OrderedWorkspace(
            setup_command="echo made > litter", cleanup_command=f"cat litter > {trace}"
        ),
    )
    process = spawn_worker()
    await server.until(lambda: "begun" in order.said("stdout"), seconds=40)
    process.kill()
    process.wait(timeout=10)
    async with start_worker():
        await server.until(lambda: order.fail is not None)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.WORKER_STOPPED
    assert order.report.change is None
    assert trace.read_text() == "made\n"

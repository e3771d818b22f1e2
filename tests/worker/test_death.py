"""A worker that is killed outright, and what the next one of its name makes of it."""

import asyncio
import random
import signal
import subprocess
from pathlib import Path

import pytest

from agentvine.git.runner import Git
from agentvine.protocol.enums import FailureClass, OrderStatus
from agentvine.worker.folders import read_folders
from agentvine.worker.leftovers import find_leftovers
from agentvine.worker.places import DataPlaces
from tests.support.repositories import Repo
from tests.worker.conftest import SpawnWorker
from tests.worker.support.wire_server import Order, WireServer, source_of
from tests.worker.test_faults import begun, programs_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

STUBBORN = "trap '' TERM; echo begun; echo work > work.txt; (trap '' TERM; sleep 60) & sleep 60"


def kill(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=10)


async def stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 30) == 0


async def assert_nothing_is_left(data_dir: Path, *orders: Order) -> None:
    leftovers = await find_leftovers(data_dir, Git())
    assert leftovers.is_clean, leftovers
    for order in orders:
        assert programs_of(order) == []


async def test_a_worker_killed_in_a_run_ends_its_programs_keeps_the_work_and_reports_it(
    server: WireServer, spawn_worker: SpawnWorker, repo: Repo, data_dir: Path
):
    source = source_of(repo.path)
    order = server.add(repository=source, command=STUBBORN)
    first = spawn_worker(containment="group")
    await begun(server, order)
    kill(first)
    assert programs_of(order), "the programs outlive their worker: that is the case to be tested"
    second = spawn_worker()
    await server.until(lambda: order.is_done)
    await stop(second)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.WORKER_STOPPED
    assert order.fail.fence == 1
    assert order.report.change.is_partial
    assert [file.path for file in order.report.change.files] == ["work.txt"]
    assert order.bundle
    assert "started anew" in order.said("system")
    mirror = Repo(DataPlaces(data_dir).mirror(source.id))
    assert mirror.show(f"refs/agentvine/rescue/{order.executions[0]}", "work.txt") == "work"
    await assert_nothing_is_left(data_dir, order)


async def test_an_outcome_on_disk_is_delivered_by_the_next_process_under_the_same_fence(
    server: WireServer, spawn_worker: SpawnWorker, repo: Repo, data_dir: Path, tmp_path: Path
):
    go_on = tmp_path / "go on"
    order = server.add(
        repository=source_of(repo.path),
        command=f"echo begun; while ! test -e '{go_on}'; do sleep 0.02; done; seq 500; echo 1 > n",
    )
    first = spawn_worker()
    await begun(server, order)
    server.is_down = True
    go_on.touch()
    runs = DataPlaces(data_dir).worker("w1").runs
    await server.until(
        lambda: any(folder.get_report() for folder in read_folders(runs, remove_damaged=False))
    )
    kill(first)
    assert order.status is OrderStatus.CLAIMED
    server.is_down = False
    second = spawn_worker()
    await server.until(lambda: order.is_done)
    await stop(second)
    assert order.complete is not None
    assert order.complete.fence == 1
    assert server.registrations[1].held == order.executions
    assert order.logs["stdout"] == ["begun", *map(str, range(1, 501))]
    assert order.bundle
    await assert_nothing_is_left(data_dir, order)


async def test_a_claim_whose_answer_never_came_is_not_lost_with_the_worker(
    server: WireServer, spawn_worker: SpawnWorker, data_dir: Path
):
    server.stall.add("claim")
    order = server.add(command="true", repository=None)
    first = spawn_worker()
    await server.until(lambda: order.status is OrderStatus.CLAIMED)
    token = order.claim_token
    assert token in DataPlaces(data_dir).worker("w1").claim.read_text()
    kill(first)
    server.stall.clear()
    second = spawn_worker()
    await server.until(lambda: order.is_done)
    await stop(second)
    assert order.complete is not None
    assert order.claim_token == token, "the token on disk was used again"
    await assert_nothing_is_left(data_dir, order)


async def test_a_report_for_a_claim_that_somebody_else_has_by_now_is_dropped(
    server: WireServer, spawn_worker: SpawnWorker, repo: Repo, data_dir: Path
):
    source = source_of(repo.path)
    order = server.add(repository=source, command=STUBBORN)
    first = spawn_worker()
    await begun(server, order)
    kill(first)
    order.status = OrderStatus.CLAIMED
    order.fence, order.claim_token, order.session_id = 2, "somebody else's", None
    second = spawn_worker()
    await server.until(lambda: len(server.registrations) == 2)
    await server.until(lambda: not list(DataPlaces(data_dir).worker("w1").runs.iterdir()))
    await stop(second)
    assert order.fail is None
    mirror = Repo(DataPlaces(data_dir).mirror(source.id))
    assert mirror.show(f"refs/agentvine/rescue/{order.executions[0]}", "work.txt") == "work"
    await assert_nothing_is_left(data_dir, order)


async def test_a_signal_drains_and_a_second_one_stops(
    server: WireServer, spawn_worker: SpawnWorker, repo: Repo, data_dir: Path
):
    order = server.add(repository=source_of(repo.path), command="echo begun; sleep 60")
    worker = spawn_worker()
    await begun(server, order)
    worker.send_signal(signal.SIGTERM)
    # lint: allow AV019 (the worker is to see two signals, not one)
    await asyncio.sleep(0.2)
    assert worker.poll() is None
    await stop(worker)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.WORKER_STOPPED
    await assert_nothing_is_left(data_dir, order)


async def test_what_a_dead_worker_left_is_listed_until_it_is_cleared_up(
    server: WireServer, spawn_worker: SpawnWorker, repo: Repo, data_dir: Path
):
    source = source_of(repo.path)
    order = server.add(repository=source, command=STUBBORN)
    first = spawn_worker()
    await begun(server, order)
    execution = str(order.executions[0])
    alive = await find_leftovers(data_dir, Git())
    assert (alive.live_workers, alive.is_clean) == (["w1"], True)
    kill(first)
    found = await find_leftovers(data_dir, Git())
    assert not found.is_clean
    assert found.live_workers == []
    assert [path.name for path in found.worktrees] == [execution]
    assert found.interrupted == [execution]
    assert found.processes == [execution]
    stored = {each.kind: each for each in found.stored}
    assert {kind: each.name for kind, each in stored.items()} == {
        "trees": execution,
        "mirrors": str(source.id),
    }
    assert all(each.size_bytes > 0 and each.used_at > 0 for each in found.stored)
    second = spawn_worker()
    await server.until(lambda: order.is_done)
    await stop(second)
    cleared = await find_leftovers(data_dir, Git())
    assert cleared.is_clean
    assert list(cleared.rescued) == [execution]


@pytest.mark.chaos
async def test_killed_at_random_moments_every_order_ends_once_and_nothing_is_left(
    server: WireServer, spawn_worker: SpawnWorker, repo: Repo, data_dir: Path
):
    seed = random.SystemRandom().randrange(10**6)
    draw = random.Random(seed)
    source = source_of(repo.path)
    orders = [
        server.add(
            repository=source,
            branch_name=f"agentvine/t-{number}",
            command=f"seq 200; echo {number} > new-{number}; sleep 0.1",
            test_command="sleep 0.1; true",
        )
        for number in range(10)
    ]
    for _ in range(6):
        worker = spawn_worker(concurrency=2)
        # The moments are what is tested: from the start of the process to the end of a run.
        await asyncio.sleep(draw.uniform(0.3, 2.0))
        kill(worker)
    registrations = len(server.registrations)
    last = spawn_worker(concurrency=2)
    await server.until(lambda: len(server.registrations) > registrations)
    await server.until(lambda: all(order.is_done for order in orders), seconds=60)
    await stop(last)
    for number, order in enumerate(orders):
        assert (order.complete is None) != (order.fail is None), f"seed {seed}"
        if order.complete is not None:
            assert [file.path for file in order.report.change.files] == [f"new-{number}"]
            assert order.said("test") == "", f"seed {seed}"
        else:
            assert order.fail is not None
            assert order.fail.failure_class is FailureClass.WORKER_STOPPED
    await assert_nothing_is_left(data_dir, *orders)

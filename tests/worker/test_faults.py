"""A server that is away, an answer that is lost, a lease that ends, an order to stop."""

import asyncio
import time
from pathlib import Path

import psutil
import pytest

from agentvine.kit.errors import AppError, Unauthenticated
from agentvine.kit.process import RUN_MARKER
from agentvine.protocol.base import PROTOCOL_VERSION, ProtocolUnsupported
from agentvine.protocol.enums import FailureClass, FailureHandling, OrderStatus
from agentvine.worker.folders import read_folders
from agentvine.worker.lock import WorkerAlreadyRuns
from agentvine.worker.places import DataPlaces
from tests.support.repositories import Repo
from tests.worker.conftest import StartWorker
from tests.worker.support.wire_server import Order, WireServer, source_of

pytestmark = pytest.mark.slow

LONG = "echo begun; echo work > work.txt; sleep 60"


def programs_of(order: Order) -> list[psutil.Process]:
    wanted = {str(execution) for execution in order.executions}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(RUN_MARKER) in wanted:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def begun(server: WireServer, order: Order) -> None:
    await server.until(lambda: "begun" in order.said("stdout"))


@pytest.mark.parametrize("kind", ["claim", "logs", "bundle", "complete", "register", "heartbeat"])
async def test_an_answer_lost_on_the_way_changes_nothing(
    server: WireServer, start_worker: StartWorker, repo: Repo, kind: str
):
    server.lose_answers[kind] = 2
    order = server.add(repository=source_of(repo.path), command="seq 100; echo 1 > new")
    async with start_worker():
        await server.until(lambda: order.is_done)
    assert order.complete is not None
    assert order.fence == 1, "the same claim was granted again"
    assert len(order.executions) == 1
    assert order.logs["stdout"] == [str(number) for number in range(1, 101)]
    assert server.lose_answers[kind] == 0


async def test_an_outage_in_the_middle_of_a_run_loses_nothing(
    server: WireServer, start_worker: StartWorker, repo: Repo, tmp_path: Path
):
    go_on = tmp_path / "go on"
    order = server.add(
        repository=source_of(repo.path),
        command=f"echo begun; while ! test -e '{go_on}'; do sleep 0.02; done; seq 1000; echo 1 > n",
    )
    async with start_worker() as worker:
        await begun(server, order)
        server.is_down = True
        go_on.touch()
        await server.until(lambda: any(run.is_delivering for run in worker._runs.values()))
        assert order.status is OrderStatus.CLAIMED
        server.is_down = False
        await server.until(lambda: order.is_done)
    assert order.complete is not None
    assert order.logs["stdout"] == ["begun", *map(str, range(1, 1001))]


async def test_a_worker_waits_for_a_server_that_is_not_there_yet(
    server: WireServer, start_worker: StartWorker
):
    server.is_down = True
    order = server.add(command="true", repository=None)
    async with start_worker():
        await server.until(lambda: server.calls["register"] >= 2)
        server.is_down = False
        await server.until(lambda: order.is_done)


async def test_a_wrong_token_ends_the_worker_at_once(server: WireServer, start_worker: StartWorker):
    server.refuse["register"] = (401, "token_invalid")

    async def be_refused() -> None:
        async with start_worker():
            await server.until(lambda: bool(server.refused_calls))

    with pytest.raises(Unauthenticated) as caught:
        await be_refused()
    assert caught.value.code == "token_invalid"


@pytest.mark.promise("P13")
async def test_a_cancelled_run_is_stopped_soon_and_its_work_is_kept(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    order = server.add(repository=source_of(repo.path), command=LONG)
    async with start_worker():
        await begun(server, order)
        started = time.monotonic()
        order.is_cancelled = True
        await server.until(lambda: order.is_done)
        assert time.monotonic() - started < 5
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.CANCELLED
    assert [file.path for file in order.report.change.files] == ["work.txt"]
    assert programs_of(order) == []


async def test_a_cancelled_run_does_not_wait_for_the_next_beat(
    server: WireServer, start_worker: StartWorker
):
    server.heartbeat_seconds = 25.0
    order = server.add(command=LONG)
    async with start_worker():
        await begun(server, order)
        started = time.monotonic()
        order.is_cancelled = True
        await server.until(lambda: order.is_done)
        assert time.monotonic() - started < 10
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.CANCELLED


async def test_a_server_that_tells_no_news_is_asked_by_beats_alone(
    server: WireServer, start_worker: StartWorker
):
    """An older server knows no such question."""
    server.refuse["listen"] = (404, "not_found")
    order = server.add(command=LONG)
    async with start_worker():
        await begun(server, order)
        order.is_cancelled = True
        await server.until(lambda: order.is_done)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.CANCELLED


async def test_a_lost_lease_ends_the_run_without_a_report_but_its_work_stays_here(
    server: WireServer, start_worker: StartWorker, repo: Repo, data_dir: Path
):
    source = source_of(repo.path)
    order = server.add(repository=source, command=LONG)
    runs = DataPlaces(data_dir).worker("w1").runs
    async with start_worker():
        await begun(server, order)
        order.is_lost = True
        order.status = OrderStatus.FAILED
        await server.until(lambda: not list(read_folders(runs)))
    assert order.complete is None
    assert order.fail is None
    mirror = Repo(DataPlaces(data_dir).mirror(source.id))
    assert mirror.show(f"refs/agentvine/rescue/{order.executions[0]}", "work.txt") == "work"
    assert programs_of(order) == []


class TestWithAShortLease:
    @pytest.fixture
    def server(self) -> WireServer:
        return WireServer(lease_seconds=1.2)

    async def test_a_run_ends_before_its_lease_when_the_server_stays_away(
        self, server: WireServer, start_worker: StartWorker, repo: Repo
    ):
        order = server.add(repository=source_of(repo.path), command=LONG)
        async with start_worker():
            await begun(server, order)
            server.is_down = True
            last_beat = time.monotonic()
            await server.until(lambda: not programs_of(order))
            # The lease and a moment: looking through all processes takes time, too.
            assert time.monotonic() - last_beat < 1.2 + 3
            server.is_down = False
            await server.until(lambda: order.is_done)
        assert order.fail is not None
        assert order.fail.failure_class is FailureClass.LEASE_LOST
        assert order.report.change.is_partial

    async def test_a_busy_main_thread_neither_stops_the_heartbeat_nor_saves_an_expired_run(
        self, server: WireServer, start_worker: StartWorker, repo: Repo
    ):
        order = server.add(repository=source_of(repo.path), command=LONG)
        async with start_worker():
            await begun(server, order)
            beats = server.calls["heartbeat"]
            # lint: allow AV019 (the loop is to hang for longer than the lease)
            time.sleep(2.0)  # noqa: ASYNC251 - as said above
            assert server.calls["heartbeat"] >= beats + 5
            assert programs_of(order)
            server.is_down = True
            # lint: allow AV019 (again, and nobody extends the lease now)
            time.sleep(2.0)  # noqa: ASYNC251 - as said above
            assert programs_of(order) == []
            server.is_down = False
            await server.until(lambda: order.is_done)
        assert order.fail is not None


async def test_a_report_that_the_server_refuses_becomes_a_plain_failure(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    server.refuse["complete"] = (422, "validation_failed")
    order = server.add(repository=source_of(repo.path), command="echo 1 > new")
    async with start_worker():
        await server.until(lambda: order.is_done)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.ORDER_INVALID
    assert "validation_failed" in order.fail.message


async def test_a_report_that_nobody_takes_is_set_aside_and_the_worker_goes_on(
    server: WireServer, start_worker: StartWorker, data_dir: Path
):
    server.refuse |= {"complete": (422, "x"), "fail": (422, "x")}
    order = server.add(command="true", repository=None)
    async with start_worker():
        await server.until(lambda: "fail" in server.refused_calls)
        server.refuse.clear()
        order.status = OrderStatus.FAILED
        following = server.add(command="true", repository=None)
        await server.until(lambda: following.is_done)
    refused = DataPlaces(data_dir).worker("w1").refused
    assert [path.name for path in refused.iterdir()] == [str(order.executions[0])]


@pytest.mark.promise("P22")
async def test_a_report_that_finds_no_room_on_the_disk_waits_for_it(
    server: WireServer, start_worker: StartWorker, data_dir: Path, tmp_path: Path
):
    go_on = tmp_path / "go on"
    order = server.add(
        command=f"echo begun; while ! test -e '{go_on}'; do sleep 0.02; done", repository=None
    )
    async with start_worker() as worker:
        await begun(server, order)
        # Where the report is drafted nothing can be written.
        in_the_way = DataPlaces(data_dir).worker("w1").runs / str(order.executions[0])
        in_the_way /= "report.json.tmp"
        in_the_way.mkdir()
        go_on.touch()
        await server.until(lambda: not programs_of(order))
        await server.until(lambda: len(order.said("system").splitlines()) >= 2)
        assert len(worker._runs) == 1
        assert not order.is_done
        in_the_way.rmdir()
        await server.until(lambda: order.is_done)
    assert order.complete is not None


async def test_a_forgotten_worker_registers_again_and_keeps_what_it_holds(
    server: WireServer, start_worker: StartWorker
):
    order = server.add(command="echo begun; sleep 1", repository=None)
    async with start_worker():
        await begun(server, order)
        server.is_forgetful = True
        await server.until(lambda: len(server.registrations) == 2)
        await server.until(lambda: order.is_done)
    assert server.registrations[1].held == order.executions
    assert order.complete is not None


async def test_a_worker_that_was_superseded_stops_and_says_so(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    order = server.add(repository=source_of(repo.path), command=LONG)

    async def be_superseded() -> None:
        async with start_worker():
            await begun(server, order)
            refusal = (409, "worker_superseded")
            server.refuse |= {"heartbeat": refusal, "claim": refusal}
            order.is_lost = True
            await server.until(lambda: not programs_of(order))

    with pytest.raises(AppError) as caught:
        await be_superseded()
    assert caught.value.code == "worker_superseded"
    assert order.fail is None


async def test_a_server_that_calls_every_claim_stale_is_asked_with_pauses_until_it_does_not(
    server: WireServer, start_worker: StartWorker, caplog: pytest.LogCaptureFixture
):
    server.refuse["claim"] = (409, "claim_stale")
    async with start_worker():
        await server.until(lambda: "claims_refused" in caplog.text)
        # Asked without pauses, it would have answered thousands of times in this time.
        asked, began = server.calls["claim"], time.monotonic()
        await server.until(lambda: server.calls["claim"] >= asked + 2)
        assert server.calls["claim"] - asked <= 3 + 20 * (time.monotonic() - began)
        del server.refuse["claim"]
        order = server.add(command="true", repository=None)
        await server.until(lambda: order.is_done)
    assert order.complete is not None


async def test_a_worker_whose_server_speaks_another_major_version_does_not_start(
    server: WireServer, start_worker: StartWorker
):
    server.protocol = "2.0"
    with pytest.raises(ProtocolUnsupported, match="upgrade AgentVine where the client runs"):
        async with start_worker():
            await server.until(lambda: server.calls["register"] > 0)
    assert server.calls["claim"] == 0


async def test_a_server_replaced_by_another_major_version_stops_the_worker_and_loses_no_report(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    order = server.add(repository=source_of(repo.path), command=LONG)

    async def meet_the_new_server() -> None:
        async with start_worker():
            await begun(server, order)
            server.protocol = "2.0"
            await server.until(lambda: not programs_of(order))

    with pytest.raises(ProtocolUnsupported):
        await meet_the_new_server()
    server.protocol = PROTOCOL_VERSION
    async with start_worker():
        await server.until(lambda: order.is_done)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.WORKER_STOPPED
    assert order.bundle is not None


async def test_draining_finishes_what_runs_and_claims_no_more(
    server: WireServer, start_worker: StartWorker, tmp_path: Path
):
    go_on = tmp_path / "go on"
    running = server.add(
        command=f"echo begun; while ! test -e '{go_on}'; do sleep 0.02; done", repository=None
    )
    async with start_worker() as worker:
        await begun(server, running)
        worker.drain()
        waiting = server.add(command="true", repository=None)
        go_on.touch()
        await server.until(lambda: running.is_done)
    assert running.complete is not None
    assert waiting.status is OrderStatus.PENDING
    assert waiting.executions == []


async def test_the_server_can_ask_a_worker_to_drain(server: WireServer, start_worker: StartWorker):
    async with start_worker() as worker:
        await server.until(lambda: server.calls["heartbeat"] > 0)
        server.is_draining = True
        async with asyncio.timeout(15):
            await worker._draining.wait()


async def test_an_idle_worker_drains_at_once_although_it_waits_for_an_answer(
    server: WireServer, start_worker: StartWorker
):
    async with start_worker():
        await server.until(lambda: server.calls["claim"] > 0)
        started = time.monotonic()
    assert time.monotonic() - started < 8


async def test_an_order_granted_while_the_worker_drains_is_given_back(
    server: WireServer, start_worker: StartWorker
):
    async with start_worker() as worker:
        await server.until(lambda: server.calls["claim"] > 0)
        # The answer to the waiting claim is lost, and the worker is told to stop meanwhile.
        server.lose_answers["claim"] = 1
        order = server.add(command="true", repository=None)
        await server.until(lambda: order.status is OrderStatus.CLAIMED)
        worker.drain()
    assert order.releases or order.complete
    assert order.status is not OrderStatus.CLAIMED


async def test_stopping_ends_what_runs_keeps_its_work_and_lets_it_be_tried_again(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    order = server.add(repository=source_of(repo.path), command=LONG)
    async with start_worker() as worker:
        await begun(server, order)
        worker.on_signal()
        worker.on_signal()
        await server.until(lambda: order.is_done)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.WORKER_STOPPED
    assert order.fail.failure_class.handling is FailureHandling.RETRY
    assert [file.path for file in order.report.change.files] == ["work.txt"]


async def test_the_drain_time_out_stops_what_runs(server: WireServer, start_worker: StartWorker):
    order = server.add(command="echo begun; sleep 60", repository=None)
    async with start_worker(drain_timeout_seconds=0.1) as worker:
        await begun(server, order)
        worker.drain()
        await server.until(lambda: order.is_done)
    assert order.fail is not None
    assert order.fail.failure_class is FailureClass.WORKER_STOPPED


async def test_two_workers_of_one_name_do_not_run_on_one_data_directory(
    server: WireServer, start_worker: StartWorker
):
    async with start_worker():
        with pytest.raises(WorkerAlreadyRuns, match="another --name"):
            await start_worker().__aenter__()
    async with start_worker(name="w1"):
        await server.until(lambda: len(server.registrations) >= 1)

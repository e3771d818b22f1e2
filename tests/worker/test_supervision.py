"""What a worker is made of may die: the rest goes on, and it is started again."""

import asyncio
from pathlib import Path

from pydantic import SecretStr

from agentvine.client import Client
from agentvine.client.transport import NO_RETRIES
from agentvine.kit.clock import SystemClock
from agentvine.kit.ids import new_id
from agentvine.kit.redaction import Redactor
from agentvine.protocol.enums import FailureClass, OrderStatus
from agentvine.protocol.queue import Held
from agentvine.runtimes.base import RunContext, RunOutcome
from agentvine.runtimes.command import CommandRuntime
from agentvine.runtimes.registry import RuntimeRegistry
from agentvine.worker.heartbeat import Heartbeat, HeartbeatEvents, Identity
from agentvine.worker.leases import LeaseBook
from agentvine.worker.shipping import LogShipper
from agentvine.worker.spool import LogSpool, SpooledLine
from tests.support.repositories import Repo
from tests.worker.conftest import StartWorker
from tests.worker.support.wire_server import TOKEN, WireServer, source_of


class DyingBook(LeaseBook):
    """A book that fails its readers now and then, as memory that runs out would."""

    deaths = 3

    def held(self) -> list[Held]:
        if self.deaths:
            self.deaths -= 1
            raise RuntimeError("no memory")
        return super().held()


async def test_a_heartbeat_thread_that_dies_is_started_again(server: WireServer, url: str):
    book = DyingBook()
    events = HeartbeatEvents(on_drain=lambda: None, on_refused=lambda _: None)
    heartbeat = Heartbeat(url, SecretStr(TOKEN), book, events)
    heartbeat.start(
        Identity(
            worker_id=server.worker_id,
            session_id=new_id(),
            lease_seconds=60.0,
            heartbeat_seconds=0.1,
            long_poll_seconds=1.0,
        )
    )
    try:
        await server.until(lambda: server.calls["heartbeat"] >= 3, seconds=60)
    finally:
        heartbeat.stop()
    assert book.deaths == 0


class TornSpool(LogSpool):
    """A spool whose file cannot be read for a while."""

    failures = 0

    def read(self, offset: int) -> list[SpooledLine]:
        if self.failures:
            self.failures -= 1
            raise OSError(5, "Input/output error")
        return super().read(offset)


async def ship(server: WireServer, url: str, folder: Path, *, failures: int) -> bool:
    """Ship a line of an order that runs; whether the server has it."""
    order = server.add(repository=source_of(folder))
    order.status, order.fence = OrderStatus.CLAIMED, 1
    spool = TornSpool(
        folder / "log", clock=SystemClock(), redactor=Redactor([]), max_bytes=1_000_000
    )
    spool.failures = failures
    async with Client(url, TOKEN, retry=NO_RETRIES) as client:
        shipper = LogShipper(client, spool, execution_id=new_id(), claim=(order.id, order.fence))
        writing = asyncio.create_task(spool.run())
        await spool.write("stdout", "hello")
        spool.close()
        async with asyncio.timeout(60):
            await asyncio.gather(shipper.run(), writing)
    return bool(order.logs.get("stdout"))


async def test_lines_that_cannot_be_read_for_a_while_are_shipped_later(
    server: WireServer, url: str, tmp_path: Path
):
    assert await ship(server, url, tmp_path, failures=2)


async def test_lines_that_can_never_be_read_do_not_hold_up_the_runs_outcome(
    server: WireServer, url: str, tmp_path: Path
):
    assert not await ship(server, url, tmp_path, failures=1_000)


class BrokenRuntime(CommandRuntime):
    """A runtime with a bug."""

    name = "broken"

    async def run(self, context: RunContext) -> RunOutcome:
        raise ZeroDivisionError(context.run_id)


async def test_a_slot_whose_run_breaks_reports_it_and_takes_the_next_order_while_others_go_on(
    server: WireServer, start_worker: StartWorker, repo: Repo, tmp_path: Path
):
    go = tmp_path / "go"
    source = source_of(repo.path)
    runtimes = RuntimeRegistry([CommandRuntime(), BrokenRuntime()])
    long = server.add(repository=source, command=f"until [ -e {go} ]; do sleep 0.05; done")
    async with start_worker(runtimes, concurrency=2):
        broken = server.add(repository=source, runtime="broken")
        await server.until(lambda: broken.is_done)
        following = server.add(repository=source, command="echo next")
        await server.until(lambda: following.is_done)
        assert not long.is_done, "the other slot was not disturbed"
        go.touch()
        await server.until(lambda: long.is_done)

    assert broken.fail is not None
    assert broken.fail.failure_class is FailureClass.WORKER_ERROR
    assert "ZeroDivisionError" in broken.fail.message
    assert (following.complete is not None, long.complete is not None) == (True, True)

"""People see what a run does now, not at the next heartbeat."""

import pytest

from tests.support.repositories import Repo
from tests.worker.conftest import StartWorker
from tests.worker.support.wire_server import WireServer, source_of


@pytest.fixture
def server() -> WireServer:
    """Its workers need speak of what they hold only every hour."""
    return WireServer(lease_seconds=7200, heartbeat_seconds=3600)


async def test_a_phase_that_lasts_is_told_although_no_beat_is_due(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    order = server.add(
        repository=source_of(repo.path), command="echo 1 > new; sleep 60", test_command="true"
    )
    async with start_worker() as worker:
        await server.until(lambda: "running" in order.phases)
        worker.stop()
        await server.until(lambda: order.is_done)


async def test_the_same_is_not_told_again_and_again(
    server: WireServer, start_worker: StartWorker, repo: Repo
):
    first = server.add(repository=source_of(repo.path), command="sleep 60")
    async with start_worker(concurrency=2) as worker:
        await server.until(lambda: "running" in first.phases)
        # The second one's phases are told; the first is spoken of with it, as often and no more.
        second = server.add(repository=source_of(repo.path), command="sleep 60", branch_name="b")
        await server.until(lambda: "running" in second.phases)
        assert first.phases.count("running") <= len(second.phases) + 1
        worker.stop()
        await server.until(lambda: first.is_done and second.is_done)

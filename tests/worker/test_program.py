"""The worker as people start it: `agentvine worker`, with an output that somebody reads, or not."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.cli import Sandbox, wait_until
from tests.worker.support.wire_server import TOKEN, WireServer
from tests.worker.test_faults import begun, programs_of

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return Sandbox(tmp_path / "sandbox")


@contextmanager
def program(
    sandbox: Sandbox, url: str, *, output: int, token: str = TOKEN
) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "agentvine", "worker", "--name", "w1", "--drain-timeout", "60"],
        env=sandbox.environment | {"AGENTVINE_SERVER_URL": url, "AGENTVINE_TOKEN": token},
        cwd=sandbox.folder,
        stdout=output,
        stderr=output,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


async def test_a_worker_whose_output_nobody_reads_any_more_still_drains_and_ends(
    server: WireServer, url: str, sandbox: Sandbox, tmp_path: Path
):
    go_on = tmp_path / "go on"
    order = server.add(
        command=f"echo begun; while ! test -e '{go_on}'; do sleep 0.02; done", repository=None
    )
    reader, writer = os.pipe()
    with program(sandbox, url, output=writer) as process:
        os.close(writer)
        await begun(server, order)
        os.close(reader)
        process.send_signal(signal.SIGTERM)
        # It has heard: nothing is claimed any more, and what runs is not ended.
        waiting = server.add(command="true", repository=None)
        go_on.touch()
        await server.until(lambda: order.is_done)
        assert await asyncio.to_thread(process.wait, 60) == 0
    assert order.complete is not None
    assert waiting.executions == []
    assert programs_of(order) == []


async def test_what_a_worker_writes_holds_no_secret(sandbox: Sandbox, tmp_path: Path):
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        token = "avw_abcdef_0123456789secret"
        url = "http://somebody:hunter2@127.0.0.1:9"
        with program(sandbox, url, output=output.fileno(), token=token) as process:
            await asyncio.to_thread(
                wait_until, lambda: "not_registered" in log.read_text(), "a line", seconds=60
            )
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 60) == 0
    said = log.read_text()
    assert "somebody" in said, "the address is told"
    assert "hunter2" not in said
    assert "0123456789secret" not in said
    assert "Traceback" not in said


async def test_a_wrong_token_ends_it_with_3_and_one_line(
    server: WireServer, url: str, sandbox: Sandbox, tmp_path: Path
):
    server.refuse["register"] = (401, "token_invalid")
    log = tmp_path / "worker.log"
    with log.open("wb") as output, program(sandbox, url, output=output.fileno()) as process:
        assert await asyncio.to_thread(process.wait, 60) == 3
    assert "token_invalid" in log.read_text().splitlines()[-1]
    assert "Traceback" not in log.read_text()

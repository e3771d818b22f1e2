import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agentvine.runtimes.registry import RuntimeRegistry, builtin_runtimes
from agentvine.worker.config import WorkerConfig
from agentvine.worker.daemon import Worker, open_tools
from tests.support.http import serve
from tests.support.repositories import Repo, make_repo
from tests.worker.support.wire_server import TOKEN, WireServer
from tests.worker.support.worker_main import worker_process

StartWorker = Callable[..., AbstractAsyncContextManager[Worker]]
SpawnWorker = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def server() -> WireServer:
    return WireServer()


@pytest.fixture
def url(server: WireServer) -> Iterator[str]:
    with serve(server.app()) as url:
        yield url


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "worker data"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return make_repo(tmp_path / "project")


@pytest.fixture
def config(url: str, data_dir: Path) -> WorkerConfig:
    return WorkerConfig(
        server_url=url, token=SecretStr(TOKEN), data_dir=data_dir, name="w1", grace_seconds=0.5
    )


@pytest.fixture
def start_worker(config: WorkerConfig) -> StartWorker:
    """A worker in the test's own process; it is drained at the end of the block."""

    @asynccontextmanager
    async def start(
        runtimes: RuntimeRegistry | None = None, **changes: Any
    ) -> AsyncIterator[Worker]:
        values = {name: getattr(config, name) for name in config.__slots__} | changes
        async with open_tools(WorkerConfig(**values), runtimes or builtin_runtimes()) as tools:
            worker = Worker(tools)
            running = asyncio.create_task(worker.run())
            try:
                yield worker
                worker.drain()
                assert await running == 0
            finally:
                if not running.done():
                    worker.stop()
                    await asyncio.wait([running], timeout=20)

    return start


@pytest.fixture
def spawn_worker(config: WorkerConfig, tmp_path: Path) -> Iterator[SpawnWorker]:
    """A worker as a process of its own, which a test may kill."""
    started: list[subprocess.Popen[bytes]] = []

    def spawn(**changes: Any) -> "subprocess.Popen[bytes]":
        given = {
            "server_url": config.server_url,
            "token": TOKEN,
            "data_dir": str(config.data_dir),
            "name": config.name,
            **changes,
        }
        process = worker_process(tmp_path / "worker.log", **given)
        started.append(process)
        return process

    yield spawn
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)

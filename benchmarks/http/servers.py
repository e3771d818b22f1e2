"""Requests through each server; the application behind them does nothing."""

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil

from benchmarks.http.messages import BEAT_JSON
from tests.support.http import free_port

_APP = "benchmarks.http.application:application"
_CALLERS = 8
_START_SECONDS = 60
_REQUEST = (
    b"POST /api/v1/queue/heartbeat HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer x\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
) % (len(BEAT_JSON), BEAT_JSON)

SERVERS = {
    "uvicorn, uvloop and httptools": (
        "uvicorn", _APP, "--loop=uvloop", "--http=httptools", "--no-access-log",
        "--log-level=warning", "--lifespan=off", "--port={port}",
    ),
    "uvicorn, asyncio and h11": (
        "uvicorn", _APP, "--loop=asyncio", "--http=h11", "--no-access-log",
        "--log-level=warning", "--lifespan=off", "--port={port}",
    ),
    "granian, uvloop": (
        "granian", _APP, "--interface=asginl", "--loop=uvloop", "--workers=1", "--no-ws",
        "--no-access-log", "--log-level=warning", "--port={port}",
    ),
    "hypercorn, uvloop": (
        "hypercorn", _APP, "--worker-class=uvloop", "--bind=127.0.0.1:{port}",
        "--log-level=warning",
    ),
}  # fmt: skip


def requests(seconds: float, rounds: int) -> dict[str, tuple[float, float]]:
    """Requests a second, and milliseconds of the server's CPU for one; by server, of all rounds."""
    count, took, cpu = (dict.fromkeys(SERVERS, 0.0) for _ in range(3))
    for _ in range(rounds):
        for name, command in SERVERS.items():
            with _running(command) as (process, port):
                asyncio.run(_load(port, 0.5))  # until it is warm
                before, started = _cpu(process), time.perf_counter()
                count[name] += asyncio.run(_load(port, seconds))
                took[name] += time.perf_counter() - started
                cpu[name] += _cpu(process) - before
    return {name: (count[name] / took[name], cpu[name] / count[name] * 1000) for name in SERVERS}


@contextlib.contextmanager
def _running(command: tuple[str, ...]) -> Iterator[tuple[psutil.Process, int]]:
    port = free_port()
    module, *rest = (part.format(port=port) for part in command)
    with subprocess.Popen([sys.executable, "-m", module, *rest]) as process:
        try:
            asyncio.run(_until_open(port))
            yield psutil.Process(process.pid), port
        finally:
            process.terminate()


async def _until_open(port: int) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)


async def _load(port: int, seconds: float) -> int:
    end = time.perf_counter() + seconds
    return sum(await asyncio.gather(*(_call(port, end) for _ in range(_CALLERS))))


async def _call(port: int, end: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    done = 0
    while time.perf_counter() < end:
        writer.write(_REQUEST)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        done += 1
    writer.close()
    return done


def _cpu(process: psutil.Process) -> float:
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(each.user + each.system for each in times)

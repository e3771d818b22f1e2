"""A beat through the whole application, without a socket: before the router, and by way of it."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from agentvine.config.settings import DatabaseSettings
from agentvine.protocol.queue import HeartbeatIn
from agentvine.server.app import API_PREFIX
from agentvine.server.migrations import migration_runner
from benchmarks.queue.services import Services
from tests.support.api import Api, running_api
from tests.support.space import claim_of, make_space

_BEATS = 60
_ORDERS = 10
_PATH = f"{API_PREFIX}/queue/heartbeat"
# They mean the same; only the router takes the trouble to read the second.
WAYS = {
    "before the router": b"application/json",
    "by the router": b"application/json;charset=utf-8",
}


def beats(services: Services, rounds: int) -> dict[str, float]:
    """Microseconds of the server's own CPU for one, the least of the rounds."""
    services.postgres.create_database("ways")
    least = asyncio.run(_measured(DatabaseSettings(url=services.url("ways")), rounds))
    services.postgres.drop_database("ways")
    return least


async def _measured(database: DatabaseSettings, rounds: int) -> dict[str, float]:
    await migration_runner(database).setup()
    least = dict.fromkeys(WAYS, float("inf"))
    with tempfile.TemporaryDirectory(prefix="agentvine-bench-") as folder:
        async with running_api(database, Path(folder)) as api:
            headers, content = await _beat(api)
            for _ in range(rounds):
                for way, kind in WAYS.items():
                    started = time.process_time()
                    for _ in range(_BEATS):
                        await _send(api, [*headers, (b"content-type", kind)], content)
                    taken = (time.process_time() - started) / _BEATS * 1e6
                    least[way] = min(least[way], taken)
    return least


async def _beat(api: Api) -> tuple[list[tuple[bytes, bytes]], bytes]:
    space = await make_space(api)
    for _ in range(_ORDERS):
        await space.task()
    worker = await space.worker()
    held = [claim_of(order) | {"phase": "running"} for order in await worker.claim(slots=_ORDERS)]
    message = HeartbeatIn.model_validate(worker.who | {"held": held})
    token = worker.caller.http.headers["authorization"].encode()
    return [(b"authorization", token)], message.model_dump_json().encode()


async def _send(api: Api, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    statuses: list[int] = []

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": _PATH,
        "raw_path": _PATH.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await api.app(scope, receive, send)
    assert statuses == [200]

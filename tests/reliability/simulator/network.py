"""The network between clients and the server: it delays, reorders, doubles and loses messages.

A client's requests go straight into the ASGI application, as tasks of the server's node. What the
server answers is told to the history when it is answered, whether or not the client hears of it.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx2

from tests.reliability.simulator.loop import SimulatedLoop
from tests.support.histories.history import History
from tests.support.histories.messages import Message

if TYPE_CHECKING:
    from fastapi import FastAPI

SERVER = "server"


@dataclass(slots=True)
class Faults:
    """How bad the network is: shares of messages, and seconds."""

    lost_requests: float = 0.0
    lost_answers: float = 0.0
    doubled: float = 0.0
    slow: float = 0.0
    slow_seconds: float = 5.0
    broken: str = ""
    """Requests to addresses that end so come to nothing."""


@dataclass
class Wires:
    """All connections of the simulated world."""

    loop: SimulatedLoop
    history: History
    app: "FastAPI"
    faults: Faults = field(default_factory=Faults)
    is_listening: bool = False
    cut_off: set[str] = field(default_factory=set)
    """Nodes that reach nobody."""

    def of(self, node: str) -> "Network":
        """The network as one node sees it."""
        return Network(self, node)

    def delay(self) -> float:
        """How long a message travels."""
        draw = self.loop.random
        is_slow = draw.random() < self.faults.slow
        return draw.uniform(0, self.faults.slow_seconds if is_slow else 0.02)


class Network(httpx2.AsyncBaseTransport):
    """What a client sends its requests through."""

    def __init__(self, wires: Wires, node: str) -> None:
        self._wires = wires
        self._node = node

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        wires, draw = self._wires, self._wires.loop.random
        body = await request.aread()
        timeouts = request.extensions["timeout"]
        if self._node in wires.cut_off:
            await asyncio.sleep(timeouts["connect"])
            raise httpx2.ConnectTimeout("cut off", request=request)
        await asyncio.sleep(wires.delay())
        if not wires.is_listening:
            raise httpx2.ConnectError("connection refused", request=request)
        if wires.faults.broken and request.url.path.endswith(wires.faults.broken):
            raise httpx2.ReadError("connection reset", request=request)
        exchange = Exchange(wires, self._node, request, body)
        if draw.random() >= wires.faults.lost_requests:
            exchange.deliver()
        if draw.random() < wires.faults.doubled:
            again = Exchange(wires, self._node, request, body)
            wires.loop.call_later(draw.uniform(0, 30), again.deliver)
        try:
            async with asyncio.timeout(timeouts["read"]):
                await exchange.ended.wait()
                await asyncio.sleep(wires.delay())
        except TimeoutError:
            raise httpx2.ReadTimeout("no answer in time", request=request) from None
        finally:
            exchange.client_left.set()
        is_lost = draw.random() < wires.faults.lost_answers
        if exchange.status is None or is_lost or self._node in wires.cut_off:
            raise httpx2.ReadError("connection reset", request=request)
        return httpx2.Response(exchange.status, headers=exchange.headers, content=exchange.content)


class Exchange:
    """One delivery of a request, and the server's answer to it."""

    def __init__(self, wires: Wires, node: str, request: httpx2.Request, body: bytes) -> None:
        self._wires = wires
        self._node = node
        self._request = request
        self._body: bytes | None = body
        self._asked = json.loads(body) if body else {}
        self._began_at = 0.0
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.content = b""
        self.client_left = asyncio.Event()
        self.ended = asyncio.Event()
        """Whole, or broken off: then there is no status."""

    def deliver(self) -> None:
        """Let the server work on it, if there is one."""
        if self._wires.is_listening:
            task = self._wires.loop.run_on(SERVER, self._serve())
            task.add_done_callback(lambda _: self.ended.set())

    async def _serve(self) -> None:
        self._began_at = self._wires.loop.time()
        url = self._request.url
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": self._request.method,
            "headers": [(name.lower(), value) for name, value in self._request.headers.raw],
            "scheme": "http",
            "path": url.path,
            "raw_path": url.raw_path,
            "query_string": url.query,
            "server": ("server", 80),
            "client": (self._node, 1),
            "root_path": "",
        }
        await self._wires.app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        await self.client_left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.headers = list(message.get("headers", []))
            self._status = int(message["status"])
            return
        self.content += message.get("body", b"")
        if not message.get("more_body", False):
            self.status = self._status
            self._tell()
            self.ended.set()

    def _tell(self) -> None:
        assert self.status is not None
        answer = json.loads(self.content) if self.status in (200, 201) else {}
        message = Message(self._request.url.path, self._asked, self.status, answer)
        for kind, facts in message.meaning():
            facts |= {"worker": self._node, "sent_at": round(self._began_at, 6)}
            self._wires.history.add(self._wires.loop.time(), kind, **facts)

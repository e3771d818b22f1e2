"""A scripted peer that speaks the worker protocol over real HTTP on loopback.

It stands for the wire, not for the server: it keeps just enough state to hold a worker to the
protocol (claim tokens, fences, numbered logs) and can misbehave on command: be down, lose answers
after having acted on them, say that a lease is lost. The real server is tested with real workers
in tests/e2e and tests/chaos.
"""

import asyncio
import hashlib
import threading
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentvine.kit.ids import new_id
from agentvine.protocol.base import PROTOCOL_HEADER, PROTOCOL_VERSION
from agentvine.protocol.controls import ControlIn
from agentvine.protocol.enums import OrderStatus, TaskType
from agentvine.protocol.executions import LogBatchIn
from agentvine.protocol.queue import (
    ClaimedOrder,
    ClaimIn,
    CompleteIn,
    FailIn,
    HeartbeatIn,
    ListenIn,
    OrderPayload,
    ReleaseIn,
    RepositorySource,
)
from agentvine.protocol.workers import WorkerRegisterIn

TOKEN = "avw_the-token-of-the-tests"


@dataclass
class Order:
    """One order, and what the worker said about it."""

    payload: OrderPayload
    id: uuid.UUID = field(default_factory=new_id)
    status: OrderStatus = OrderStatus.PENDING
    fence: int = 0
    claim_token: str = ""
    session_id: uuid.UUID | None = None
    executions: list[uuid.UUID] = field(default_factory=list)
    complete: CompleteIn | None = None
    fail: FailIn | None = None
    releases: list[ReleaseIn] = field(default_factory=list)
    bundle: bytes | None = None
    logs: dict[str, list[str]] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    """What the worker marked as a step, for the timeline."""
    phases: list[str] = field(default_factory=list)
    is_cancelled: bool = False
    is_paused: bool | None = None
    """Whether its run shall stand still; None: nobody ever wanted anything of it."""
    messages: list[str] = field(default_factory=list)
    """What was said to it."""
    stands_still: bool = False
    handed_to: int = 0
    is_lost: bool = False

    @property
    def is_done(self) -> bool:
        return self.status in {OrderStatus.COMPLETED, OrderStatus.FAILED}

    @property
    def report(self) -> Any:
        message = self.complete or self.fail
        assert message is not None, f"{self.id} has no report, it is {self.status}"
        return message.report

    def control(self) -> dict[str, Any] | None:
        """What a beat says of it."""
        if self.is_paused is None and not self.messages:
            return None
        messages = [
            {
                "number": number,
                "author": "user:somebody",
                "text": text,
                "created_at": "2026-01-01T00:00:00Z",
            }
            for number, text in enumerate(self.messages, start=1)
            if number > self.handed_to
        ]
        return {"is_paused": bool(self.is_paused), "messages": messages}

    def said(self, stream: str) -> str:
        return "\n".join(self.logs.get(stream, []))


class WireServer:
    """The peer's state and its routes."""

    def __init__(self, *, lease_seconds: float = 60.0, heartbeat_seconds: float = 0.1) -> None:
        self.lease_seconds = lease_seconds
        self.heartbeat_seconds = heartbeat_seconds
        self.worker_id = new_id()
        self.orders: list[Order] = []
        self.registrations: list[WorkerRegisterIn] = []
        self.calls: Counter[str] = Counter()
        self.protocol = PROTOCOL_VERSION
        """The version it says it speaks."""
        self.is_down = False
        self.is_draining = False
        self.is_forgetful = False
        self.lose_answers: Counter[str] = Counter()
        """How many answers to a kind of call are to be lost after the call has had its effect."""
        self.stall: set[str] = set()
        """Kinds of call whose answers are held back after the call has had its effect."""
        self.refuse: dict[str, tuple[int, str]] = {}
        """Status and code with which a kind of call is refused."""
        self.refused_calls: list[str] = []
        self._changed = threading.Condition()

    def add(self, **changes: Any) -> Order:
        """Put an order into the queue."""
        values: dict[str, Any] = {
            "task_id": new_id(),
            "task_ref": "T-1",
            "title": "Change something",
            "task_type": TaskType.FEATURE,
            "runtime": "command",
            "timeout_seconds": 60,
            "test_timeout_seconds": 60,
            "branch_name": "agentvine/t-1-change",
            "target_branch": "main",
        }
        order = Order(OrderPayload(**{**values, **changes}))
        self.orders.append(order)
        return order

    async def until(self, is_true: Callable[[], bool], *, seconds: float = 20.0) -> None:
        """Wait until something holds of the peer's state."""
        deadline = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < deadline, f"waited {seconds} s: {self.describe()}"
            await asyncio.to_thread(self._wait)

    def describe(self) -> str:
        return "; ".join(
            f"{order.status} fence {order.fence} {order.phases[-1:]} {order.logs.get('system')}"
            for order in self.orders
        )

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait(0.05)

    def app(self) -> Starlette:
        prefix = "/api/v1"
        table = {
            "register": ("POST", "/workers/register", self._register),
            "claim": ("POST", "/queue/claim", self._claim),
            "heartbeat": ("POST", "/queue/heartbeat", self._heartbeat),
            "listen": ("POST", "/queue/listen", self._listen),
            "control": ("POST", "/queue/control", self._control),
            "complete": ("POST", "/queue/complete", self._complete),
            "fail": ("POST", "/queue/fail", self._fail),
            "release": ("POST", "/queue/release", self._release),
            "logs": ("POST", "/executions/{execution}/logs", self._logs),
            "bundle": ("PUT", "/executions/{execution}/bundle", self._bundle),
        }
        return Starlette(
            routes=[
                Route(prefix + path, self._guarded(kind, act), methods=[method])
                for kind, (method, path, act) in table.items()
            ]
        )

    def _guarded(self, kind: str, act: Any) -> Any:
        async def answer(request: Request) -> Response:
            self.calls[kind] += 1
            assert request.headers["authorization"] == f"Bearer {TOKEN}"
            if self.is_down:
                return problem(503, "unavailable")
            if kind in self.refuse:
                self.refused_calls.append(kind)
                return problem(*self.refuse[kind])
            response = await act(request)
            response.headers[PROTOCOL_HEADER] = self.protocol
            with self._changed:
                self._changed.notify_all()
            while kind in self.stall and not await request.is_disconnected():  # noqa: ASYNC110 - set by another thread
                await asyncio.sleep(0.01)
            if self.lose_answers[kind] > 0:
                self.lose_answers[kind] -= 1
                return StreamingResponse(_break_off(), media_type="application/json")
            return response

        return answer

    async def _register(self, request: Request) -> Response:
        message = WorkerRegisterIn.model_validate_json(await request.body())
        self.registrations.append(message)
        self.is_forgetful = False
        released = 0
        for order in self.orders:
            if order.status is OrderStatus.CLAIMED and order.session_id != message.session_id:
                if order.executions[-1] in message.held:
                    order.session_id = message.session_id
                else:
                    released += 1
                    order.status = OrderStatus.PENDING
                    order.fence += 1
        return answer_with(
            worker_id=self.worker_id,
            lease_seconds=self.lease_seconds,
            heartbeat_seconds=self.heartbeat_seconds,
            long_poll_seconds=5,
            released=released,
        )

    async def _claim(self, request: Request) -> Response:
        message = ClaimIn.model_validate_json(await request.body())
        if self.is_forgetful:
            return problem(404, "worker_not_found")
        deadline = time.monotonic() + message.wait_seconds
        while True:
            same = [
                order
                for order in self.orders
                if order.status is OrderStatus.CLAIMED and order.claim_token == message.claim_token
            ]
            ready = [order for order in self.orders if order.status is OrderStatus.PENDING]
            granted = same or [self._grant(order, message) for order in ready[: message.slots]]
            if granted or time.monotonic() > deadline or self.is_down:
                orders = [self._granted(order) for order in granted]
                return answer_with(orders=[order.model_dump(mode="json") for order in orders])
            await asyncio.sleep(0.01)
            if await request.is_disconnected():
                return answer_with(orders=[])

    def _grant(self, order: Order, message: ClaimIn) -> Order:
        order.status = OrderStatus.CLAIMED
        order.fence += 1
        order.claim_token = message.claim_token
        order.session_id = message.session_id
        order.executions.append(new_id())
        order.is_lost = False
        return order

    def _granted(self, order: Order) -> ClaimedOrder:
        return ClaimedOrder(
            order_id=order.id,
            execution_id=order.executions[-1],
            fence=order.fence,
            attempt=len(order.executions),
            lease_seconds=self.lease_seconds,
            payload=order.payload,
        )

    async def _heartbeat(self, request: Request) -> Response:
        message = HeartbeatIn.model_validate_json(await request.body())
        if self.is_forgetful:
            return problem(404, "worker_not_found")
        leases: list[dict[str, Any]] = []
        for held in message.held:
            order = self._find(held.order_id)
            order.phases.append(held.phase.value)
            state = "kept"
            if not self._is_held(order, held.fence):
                state = "lost"
            elif order.is_cancelled:
                state = "cancel"
            lease = {"order_id": str(order.id), "fence": held.fence, "state": state}
            leases.append(lease | {"control": order.control()})
        return answer_with(leases=leases, lease_seconds=self.lease_seconds, drain=self.is_draining)

    async def _listen(self, request: Request) -> Response:
        message = ListenIn.model_validate_json(await request.body())
        deadline = time.monotonic() + message.wait_seconds
        while not (news := self._has_news(message)) and time.monotonic() < deadline:
            if self.is_down or await request.is_disconnected():
                break
            await asyncio.sleep(0.01)
        return answer_with(news=news)

    def _has_news(self, message: ListenIn) -> bool:
        return any(
            self._find(held.order_id).is_cancelled
            or self._is_to_hear(self._find(held.order_id), message)
            or not self._is_held(self._find(held.order_id), held.fence)
            for held in message.held
        )

    def _is_to_hear(self, order: Order, message: ListenIn) -> bool:
        known = next((each for each in message.controls if each.order_id == order.id), None)
        told = (known.is_paused, known.messages_to) if known else (False, 0)
        return told != (bool(order.is_paused), max(order.handed_to, len(order.messages)))

    async def _control(self, request: Request) -> Response:
        message = ControlIn.model_validate_json(await request.body())
        order = self._find(message.order_id)
        if not self._is_held(order, message.fence):
            return problem(409, "lease_lost")
        if message.is_paused is not None:
            order.stands_still = message.is_paused
        if message.messages_to is not None:
            order.handed_to = message.messages_to
        return Response(status_code=204)

    async def _complete(self, request: Request) -> Response:
        message = CompleteIn.model_validate_json(await request.body())
        order = self._find(message.order_id)
        if order.complete == message:
            return self._outcome(order)
        if not self._is_held(order, message.fence):
            return problem(409, "lease_lost")
        self._check_log(order, message.report.log_high_water)
        order.complete = message
        order.status = OrderStatus.COMPLETED
        return self._outcome(order)

    async def _fail(self, request: Request) -> Response:
        message = FailIn.model_validate_json(await request.body())
        order = self._find(message.order_id)
        if order.fail == message:
            return self._outcome(order)
        if not self._is_held(order, message.fence):
            return problem(409, "lease_lost")
        self._check_log(order, message.report.log_high_water)
        order.fail = message
        order.status = OrderStatus.FAILED
        return self._outcome(order)

    async def _release(self, request: Request) -> Response:
        message = ReleaseIn.model_validate_json(await request.body())
        order = self._find(message.order_id)
        if not self._is_held(order, message.fence):
            return problem(409, "lease_lost")
        order.releases.append(message)
        order.status = OrderStatus.PENDING
        return self._outcome(order)

    async def _logs(self, request: Request) -> Response:
        message = LogBatchIn.model_validate_json(await request.body())
        order = self._find(message.order_id)
        if not self._is_held(order, message.fence) and not order.is_done:
            return problem(409, "lease_lost")
        kept = order.logs.setdefault(message.stream, [])
        if message.first_seq > len(kept) + 1:
            return problem(409, "log_gap")
        for number, line in enumerate(message.lines, start=message.first_seq):
            if number > len(kept):
                kept.append(line.message)
                order.steps += [line.metadata["step"]] if "step" in line.metadata else []
            elif kept[number - 1] != line.message:
                return problem(409, "log_differs")
        return answer_with(stream=message.stream, high_seq=len(kept))

    async def _bundle(self, request: Request) -> Response:
        content = await request.body()
        order = self._find(uuid.UUID(request.query_params["order_id"]))
        if not self._is_held(order, int(request.query_params["fence"])):
            return problem(409, "lease_lost")
        assert hashlib.sha256(content).hexdigest() == request.query_params["sha256"]
        order.bundle = content
        return answer_with(
            execution_id=order.executions[-1],
            sha256=request.query_params["sha256"],
            size_bytes=len(content),
        )

    def _find(self, order_id: uuid.UUID) -> Order:
        return next(order for order in self.orders if order.id == order_id)

    def _is_held(self, order: Order, fence: int) -> bool:
        return order.status is OrderStatus.CLAIMED and order.fence == fence and not order.is_lost

    def _check_log(self, order: Order, high_water: dict[str, int]) -> None:
        held = {stream: len(lines) for stream, lines in order.logs.items()}
        assert high_water.items() <= held.items(), f"{high_water} reported, {held} arrived"

    def _outcome(self, order: Order) -> Response:
        return answer_with(order_id=order.id, status=order.status.value)


def source_of(path: Path, repository_id: uuid.UUID | None = None) -> RepositorySource:
    """A repository on this machine, as an order names it."""
    return RepositorySource(
        id=repository_id or new_id(), name=path.name, path=str(path), git_url=None
    )


def answer_with(**members: Any) -> Response:
    class Body(BaseModel):
        model_config = {"extra": "allow"}

    return Response(Body(**members).model_dump_json(), media_type="application/json")


def problem(status: int, code: str) -> Response:
    body = {"type": "about:blank", "title": code, "status": status, "detail": code, "code": code}
    return JSONResponse(body, status, media_type="application/problem+json")


async def _break_off() -> AsyncIterator[bytes]:
    yield b"{"
    raise ConnectionResetError

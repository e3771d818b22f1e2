"""Doors to models for the server's own calls: the same providers and books as those of runs.

Never open a transaction around a call: it takes as long as the model thinks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_DOWN, Decimal
from typing import cast
from zoneinfo import ZoneInfo

import httpx2
import structlog

from agentvine.domains.gateway.addresses import resolve
from agentvine.domains.gateway.enums import ModelWire, ProviderKind
from agentvine.domains.gateway.errors import ProviderAddressForbidden, ProviderMissing
from agentvine.domains.gateway.pricing import LEAST_OUTPUT, cost_of
from agentvine.domains.gateway.targets import Target, Targets
from agentvine.domains.usage.calls import Call, Outcome, Payer
from agentvine.domains.usage.ledger import Ledger
from agentvine.domains.usage.prices import SNAPSHOT, Tokens
from agentvine.kit.clock import Clock
from agentvine.llm.door import ModelDoor
from agentvine.llm.messages import Used
from agentvine.llm.ports import Endpoint, PlannedCall

_CONNECT_SECONDS = 10.0
_MILLION = 1_000_000
_IPV6 = 6

Settled = Callable[[str, Used, Decimal], None]
"""Told a call's request id, what it used, and what that costs in dollars."""

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Bill:
    """What the calls for one answer came to; a door's ``on_settled`` is its ``add``."""

    used: Used = field(default_factory=Used)
    usd: Decimal = Decimal(0)
    request_ids: list[str] = field(default_factory=list[str])
    """Of the calls, as the books have them."""

    def add(self, request_id: str, used: Used, usd: Decimal) -> None:
        """Count one call."""
        self.request_ids.append(request_id)
        self.used = Used(input=self.used.input + used.input, output=self.used.output + used.output)
        self.usd += usd


@dataclass(slots=True)
class ModelDoors:
    """Makes a door for whoever pays. One for the server; close it at its end."""

    clock: Clock
    ledger: Ledger
    targets: Targets
    zone: ZoneInfo
    _clients: dict[bool, httpx2.AsyncClient] = field(
        default_factory=dict[bool, httpx2.AsyncClient], init=False
    )

    def door_for(self, payer: Payer, *, on_settled: Settled | None = None) -> ModelDoor:
        """A door whose calls go on this account; ``on_settled`` is told what each came to."""
        return ModelDoor(_Providers(self, payer), _Books(self, payer, on_settled))

    def client(self, *, may_be_private: bool) -> httpx2.AsyncClient:
        """Connections to providers, kept between calls."""
        known = self._clients.get(may_be_private)
        if known is None:
            known = self._clients[may_be_private] = httpx2.AsyncClient(
                transport=_CheckedTransport(may_be_private=may_be_private),
                timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
                follow_redirects=False,
            )
        return known

    async def close(self) -> None:
        """Close all connections."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()


class _CheckedTransport(httpx2.AsyncBaseTransport):
    """Connects to the addresses that were looked at, and asks no proxy, which would look again."""

    def __init__(self, *, may_be_private: bool) -> None:
        self._may_be_private = may_be_private
        # The environment says which authorities are trusted; a given transport asks no proxy.
        self._inner = httpx2.AsyncHTTPTransport(trust_env=True)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            found = await resolve(str(request.url), may_be_private=self._may_be_private)
        except ProviderAddressForbidden as error:
            raise httpx2.ConnectError(error.detail, request=request) from error
        address = found.addresses[0]
        host = f"[{address}]" if address.version == _IPV6 else str(address)
        # The request keeps the name, in its Host header and for the certificate.
        request.url = request.url.copy_with(host=host, port=found.port)
        request.extensions = {**request.extensions, "sni_hostname": found.host}
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


@dataclass(frozen=True, slots=True)
class _Providers:
    """Where a payer's calls may go."""

    doors: ModelDoors
    payer: Payer

    async def find(self, model: str) -> Sequence[Endpoint]:
        wires = [ModelWire.ANTHROPIC, ModelWire.OPENAI]
        if not model.startswith("claude"):
            wires.reverse()
        found: list[Endpoint] = []
        missing: ProviderMissing | None = None
        for wire in wires:
            try:
                targets = await self.doors.targets.find(self.payer, wire, model)
            except ProviderMissing as error:
                missing = missing or error
            else:
                found += [self._endpoint(target) for target in targets]
        if not found:
            assert missing is not None, "each language has targets, or says that it has none"
            raise missing
        return found

    async def note_limit(self, endpoint: Endpoint, seconds: float, reason: str) -> None:
        await self.doors.targets.note_limit(_target_of(endpoint), seconds, reason)

    def _endpoint(self, target: Target) -> Endpoint:
        return Endpoint(
            kind="anthropic" if target.kind == ProviderKind.ANTHROPIC else "openai",
            base_url=target.base_url,
            model=target.real_model,
            key=target.key,
            http=self.doors.client(may_be_private=target.allows_private),
            name=target.name,
            is_openais=target.kind == ProviderKind.OPENAI,
            origin=target,
        )


@dataclass(frozen=True, slots=True)
class _Books:
    """Counts a payer's calls."""

    doors: ModelDoors
    payer: Payer
    on_settled: Settled | None = None
    _open: dict[str, tuple[Call, datetime, Decimal]] = field(
        default_factory=dict[str, tuple[Call, datetime, Decimal]]
    )

    async def reserve(self, call: PlannedCall) -> int:
        at, target = self.doors.clock.now(), _target_of(call.endpoint)
        size = call.input_bound
        plain = cost_of(Tokens(input=size), target, at)
        entry = max(plain, cost_of(Tokens(input=size, cache_write=size), target, at))
        output = cost_of(Tokens(input=size, output=_MILLION), target, at) - plain
        day = at.astimezone(self.doors.zone).date()
        booked = Call(call.request_id, target.real_model[:100], self.payer, day)
        most = entry + _up(output * call.max_output / _MILLION)
        least = entry + _up(output * min(LEAST_OUTPUT, call.max_output) / _MILLION)
        granted = await self.doors.ledger.reserve(booked, most, least)
        self._open[call.request_id] = (booked, at, granted)
        if granted >= most or output <= 0:
            return call.max_output
        return int(((granted - entry) * _MILLION / output).to_integral_value(rounding=ROUND_DOWN))

    async def shrink(self, call: PlannedCall, used: Used) -> None:
        _, at, _ = self._open[call.request_id]
        longest = Tokens(used.input, call.max_output, used.cache_read, used.cache_write)
        needed = cost_of(longest, _target_of(call.endpoint), at)
        await self.doors.ledger.shrink(call.request_id, needed)

    async def settle(
        self, call: PlannedCall, used: Used, *, duration_ms: int, is_estimated: bool
    ) -> None:
        booked, at, granted = self._open.pop(call.request_id)
        target = _target_of(call.endpoint)
        tokens = Tokens(used.input, used.output, used.cache_read, used.cache_write)
        cost = cost_of(tokens, target, at)
        if cost > granted:
            log.error("door.call_above_bound", request_id=call.request_id, cost_usd=str(cost))
        notes: dict[str, object] = {
            "source": "door",
            "provider": target.name or target.priced_as,
            "prices": "free" if target.is_free else SNAPSHOT,
            "reserved_usd": str(granted),
        }
        if call.asked_model != target.real_model:
            notes["asked_model"] = call.asked_model
        await self.doors.ledger.settle(
            booked, Outcome(tokens, cost, duration_ms, is_estimated, notes)
        )
        if self.on_settled is not None:
            self.on_settled(call.request_id, used, cost)

    async def release(self, call: PlannedCall) -> None:
        self._open.pop(call.request_id)
        await self.doors.ledger.release(call.request_id)


def _target_of(endpoint: Endpoint) -> Target:
    return cast("Target", endpoint.origin)


def _up(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.000001"), rounding="ROUND_UP")

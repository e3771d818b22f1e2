"""The relay: takes a run's calls to models, reserves, passes them on, and counts what they used.

A raw ASGI application, since every call goes through it, and every chunk of every answer. The bytes
of answers are passed on as they come; what of a request is changed is its model's name, the limit
of its answer, and that a stream tells its usage.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import structlog

from agentvine.db.session import Database
from agentvine.domains.gateway import answers
from agentvine.domains.gateway.bodies import BodyKeeper, Tape
from agentvine.domains.gateway.dialing import Dialer, returned_headers
from agentvine.domains.gateway.errors import ProviderAddressForbidden
from agentvine.domains.gateway.keys import KeyDesk, KeyInvalid, RunKey
from agentvine.domains.gateway.limits import limit_of
from agentvine.domains.gateway.metering import Meter
from agentvine.domains.gateway.offer import models_in
from agentvine.domains.gateway.pricing import Quote, bounds_of
from agentvine.domains.gateway.reserving import PATIENCE_SECONDS, Wish, reserve
from agentvine.domains.gateway.routes import (
    PREFIX,
    Operation,
    Route,
    key_of,
    query_without_key,
    route_of,
    wire_for_errors,
)
from agentvine.domains.gateway.streaming import DRAIN_SECONDS, Exchange, pass_on
from agentvine.domains.gateway.targets import Target, Targets
from agentvine.domains.gateway.wires.asked import Asked, read_body
from agentvine.domains.usage.calls import Call
from agentvine.domains.usage.ledger import Ledger
from agentvine.domains.usage.periods import day_of
from agentvine.kit.errors import AppError, NotFound, TooLarge, Unavailable
from agentvine.kit.ids import new_id

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 32 * 1024 * 1024
_MAX_HEADER_BYTES = 64 * 1024
_RETRIED = frozenset({401, 403, 408, 429, 500, 502, 503, 504, 529})
"""What the next provider, or the next key, may answer better."""
_NOT_OURS = frozenset({401, 403})
_LIMITED = 429
_FIRST_ERROR = 400
_COUNT_SECONDS = 5.0

log = structlog.get_logger(__name__)


class GatewayRouteUnknown(NotFound):
    """The gateway has nothing at this address."""

    code = "gateway_route_unknown"


class RequestTooLarge(TooLarge):
    """The request to the model is too large."""

    code = "model_request_too_large"


class ProviderUnreachable(Unavailable):
    """No provider of this model answers."""

    code = "provider_unreachable"


class ProviderRefusedKey(Unavailable):
    """The provider does not take the server's key."""

    code = "provider_refused_key"


@dataclass(slots=True)
class Gateway:
    """Serves everything below ``/gateway``."""

    database: Database
    ledger: Ledger
    desk: KeyDesk
    targets: Targets
    zone: ZoneInfo
    keeper: BodyKeeper
    drain_seconds: float = DRAIN_SECONDS
    patience_seconds: float = PATIENCE_SECONDS
    dialer: Dialer = field(default_factory=Dialer)
    counters: Counter[str] = field(default_factory=Counter[str])
    """What happened so far, for who watches."""
    live: dict[Exchange, RunKey] = field(default_factory=dict[Exchange, RunKey])
    """Answers under way, so that those of dead keys can be cut off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = str(scope["path"]).removeprefix(PREFIX)
        exchange = Exchange(receive, send, self.drain_seconds)
        wire = wire_for_errors(path)
        try:
            route = _route_of(scope, path)
            wire = route.wire
            await self._serve(scope, route, exchange)
        except AppError as error:
            self.counters[f"refused:{error.code}"] += 1
            await exchange.refuse(answers.refusal(wire, error))
        except Exception:  # lint: allow AV007 (the last resort of the relay)
            log.exception("gateway.failed", path=path)
            self.counters["failed"] += 1
            await exchange.refuse(answers.bug(wire))

    async def close(self) -> None:
        """Close the connections to providers."""
        await self.dialer.close()

    async def _serve(self, scope: Scope, route: Route, exchange: Exchange) -> None:
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        if sum(len(name) + len(value) for name, value in headers) > _MAX_HEADER_BYTES:
            raise RequestTooLarge("The headers take more than 64 KiB; send less.")
        query = scope.get("query_string", b"").decode("latin-1")
        key = await self.desk.check(key_of(headers, query))
        request = _Request(route, headers, query_without_key(query), key)
        if route.operation is Operation.MODELS:
            await self._list_models(request, exchange)
            return
        raw = await exchange.read_body(MAX_BODY_BYTES)
        if raw is None:
            raise RequestTooLarge(f"A request may have {MAX_BODY_BYTES} bytes; send less at once.")
        if route.operation is Operation.COUNT:
            await self._relay_count(request, raw, exchange)
            return
        await self._relay_answer(request, raw, exchange)

    async def _relay_answer(self, request: "_Request", raw: bytes, exchange: Exchange) -> None:
        asked = request.route.wire.read(raw, read_body(raw), request.route.rest)
        meter = await self._reserve(request, asked, exchange)
        try:
            self.live[exchange] = request.key
            response = await self._ask(request, meter, exchange)
            if response is not None:
                async with response:
                    await self._pass_on(meter, response, exchange)
        except BaseException:
            await asyncio.shield(self._begin_counting(meter, exchange))
            raise
        counting = self._begin_counting(meter, exchange)
        try:
            # The caller has all that was said, and need not wait for the books as well: its next
            # call finds this one there, since steps in the books keep their order.
            await _finish(exchange)
        finally:
            # Whoever gives up waiting does not keep it out of the books.
            await asyncio.shield(counting)

    def _begin_counting(self, meter: Meter, exchange: Exchange) -> "asyncio.Task[None]":
        self.live.pop(exchange, None)
        meter.cut_by = exchange.cut_by
        return asyncio.create_task(self._count(meter))

    async def _count(self, meter: Meter) -> None:
        try:
            await meter.close()
        except Exception:  # lint: allow AV007 (what is not settled is counted at its bound)
            log.exception("gateway.not_settled", request_id=meter.call.request_id)
        if meter.tape is not None and meter.quote is not None:
            await self._keep(meter, meter.tape, meter.quote.target.key)

    async def _keep(self, meter: Meter, tape: Tape, secret: str | None) -> None:
        call, request = meter.call, meter.asked.payload()
        try:
            await self.keeper.keep(call.request_id, call.payer.project_id, secret, request, tape)
        except Exception:  # lint: allow AV007 (the call itself is done, and counted)
            log.exception("gateway.bodies_not_kept", request_id=call.request_id)

    async def _reserve(self, request: "_Request", asked: Asked, exchange: Exchange) -> Meter:
        wire, payer = request.route.wire, request.key.payer
        targets = await self.targets.find(payer, wire.language, asked.model)
        at = self.database.clock.now()
        bounds = bounds_of(asked, targets, at)
        model = bounds.quotes[0].target.real_model
        call = Call(f"gw:{new_id().hex}", model[:100], payer, day_of(at, self.zone))
        wish = Wish(
            call,
            asked,
            targets,
            at,
            count=lambda: self._count_input(request, asked, targets[0]),
            is_over=lambda: exchange.is_over,
            on_wait=lambda: self.counters.update(waited=1),
        )
        bounds, granted = await reserve(
            self.ledger, wish, bounds, patience_seconds=self.patience_seconds
        )
        limit = bounds.output_for(asked, granted)
        self.counters["calls"] += 1
        if limit is not None:
            self.counters["limited"] += 1
        scanner, clock = wire.scanner(), self.database.clock
        tape = self.keeper.tape()
        return Meter(self.ledger, call, asked, bounds, granted, limit, scanner, at, clock, tape)

    async def _ask(
        self, request: "_Request", meter: Meter, exchange: Exchange
    ) -> aiohttp.ClientResponse | None:
        """The first good answer, or else the last bad one; None where the caller has left."""
        response: aiohttp.ClientResponse | None = None
        for number, quote in enumerate(meter.quotes):
            is_last = number == len(meter.quotes) - 1
            try:
                response = await exchange.until_cut(self._send(request, meter, quote))
            except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError, OSError) as error:
                await self._note_silence(quote.target, error)
                if not isinstance(error, aiohttp.ClientConnectorError):
                    meter.lost.append(quote.target)
                continue
            except ProviderAddressForbidden as error:
                await self._note_silence(quote.target, error)
                continue
            except aiohttp.ClientError as error:
                await self._note_silence(quote.target, error)
                meter.lost.append(quote.target)
                continue
            if response is None:
                meter.lost.append(quote.target)
                return None
            if response.status < _FIRST_ERROR:
                meter.quote = quote
                return response
            meter.refused_by, meter.refusal = quote.target, None
            if response.status == _LIMITED:
                meter.refusal = await answers.error_text(response, quote.target.key)
                limit = limit_of(response.headers, meter.refusal, self.database.clock.now())
                await self.targets.note_limit(quote.target, *limit)
            if is_last or response.status not in _RETRIED:
                return response
            self.counters["retried"] += 1
            response.release()
        raise ProviderUnreachable("No provider of this model answers; see the server's log.")

    async def _send(
        self, request: "_Request", meter: Meter, quote: Quote
    ) -> aiohttp.ClientResponse:
        wire, asked, target = request.route.wire, meter.asked, quote.target
        wire.rename(asked, target.real_model)
        if meter.limit is not None:
            wire.limit_output(asked, meter.limit, is_compatible=target.kind == "openai_compatible")
        wire.ask_for_usage(asked)
        path = wire.target(asked, target.real_model)
        return await self.dialer.post(target, path, request.query, request.headers, asked.payload())

    async def _note_silence(self, target: Target, error: Exception) -> None:
        self.counters["unreachable"] += 1
        log.warning("gateway.provider_silent", provider=target.name, error=repr(error))

    async def _pass_on(
        self,
        meter: Meter,
        response: aiohttp.ClientResponse,
        exchange: Exchange,
    ) -> None:
        if meter.quote is None:
            assert meter.refused_by is not None, "an answer that is not good is an error"
            await self._pass_error_on(meter.refused_by, response, exchange, meter.refusal)
            return
        headers = returned_headers(
            response.headers, meter.quote.target.key, is_same_length=not meter.asked.hides_usage
        )
        headers += answers.notes_for_caller(meter.asked, meter.limit, meter.call.request_id)
        await exchange.start(response.status, headers)
        await pass_on(response, exchange, meter)

    async def _pass_error_on(
        self,
        target: Target,
        response: aiohttp.ClientResponse,
        exchange: Exchange,
        body: bytes | None = None,
    ) -> None:
        self.counters["provider_errors"] += 1
        if response.status in _NOT_OURS:
            log.warning("gateway.key_refused", provider=target.name, status=response.status)
            raise ProviderRefusedKey(
                f"{target.name or target.priced_as} answered {response.status}: the provider's "
                "key is wrong, or may not use this model; look at `agentvine provider list`."
            )
        if body is None:
            body = await answers.error_text(response, target.key)
        headers = returned_headers(response.headers, target.key, is_same_length=False)
        await exchange.start(response.status, headers)
        await exchange.send(body)

    async def _relay_count(self, request: "_Request", raw: bytes, exchange: Exchange) -> None:
        route, body = request.route, read_body(raw)
        model = str(body.get("model", "")) or route.rest.rpartition(":")[0]
        target = (await self.targets.find(request.key.payer, route.wire.language, model))[0]
        path = route.target or f"/v1beta/models/{target.real_model}:countTokens"
        asked = Asked(body, raw, model, is_streamed=False, max_output=None)
        if not route.rest:
            route.wire.rename(asked, target.real_model)
        await self._relay_free(request, target, exchange, path, asked.payload())

    async def _count_input(self, request: "_Request", asked: Asked, target: Target) -> int | None:
        """What the provider counts of what goes in; None where it does not say."""
        question = request.route.wire.counting(asked, target.real_model)
        if question is None:
            return None
        path, body = question
        try:
            async with asyncio.timeout(_COUNT_SECONDS):
                sending = self.dialer.post(
                    target, path, "", request.headers, json.dumps(body).encode()
                )
                async with await sending as response:
                    if response.status >= _FIRST_ERROR:
                        return None
                    self.counters["counted"] += 1
                    return request.route.wire.counted(read_body(await response.read()))
        except (aiohttp.ClientError, OSError, AppError) as error:
            log.info("gateway.not_counted", provider=target.name, error=repr(error))
            return None

    async def _list_models(self, request: "_Request", exchange: Exchange) -> None:
        self.counters["free"] += 1
        async with self.database.read() as read:
            listed = await models_in(read, request.key.payer, request.route.wire.language)
        await exchange.refuse(answers.listed(listed))

    async def _relay_free(
        self,
        request: "_Request",
        target: Target,
        exchange: Exchange,
        path: str,
        body: bytes,
    ) -> None:
        """Pass on what costs nothing."""
        self.counters["free"] += 1
        try:
            sending = self.dialer.post(target, path, request.query, request.headers, body)
            async with await sending as response:
                if response.status >= _FIRST_ERROR:
                    await self._pass_error_on(target, response, exchange)
                else:
                    headers = returned_headers(response.headers, target.key, is_same_length=True)
                    await exchange.start(response.status, headers)
                    async for chunk in response.content.iter_any():
                        await exchange.send(chunk)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            await self._note_silence(target, error)
            if exchange.has_started:
                return
            raise ProviderUnreachable("The provider does not answer.", retry_after=5) from error
        await exchange.end()


def _route_of(scope: Scope, path: str) -> Route:
    route = route_of(path)
    if route is None or scope["method"] != route.method:
        raise GatewayRouteUnknown(f"{scope['method']} {path} is not served here.")
    return route


async def _finish(exchange: Exchange) -> None:
    if exchange.cut_by == "key" and not exchange.has_started:
        raise KeyInvalid("The run that this key was made for has ended.")
    if exchange.cut_by is None:
        await exchange.end()
    else:
        # Half an answer must not look like a whole one: the connection is broken.
        await exchange.leave()


@dataclass(frozen=True, slots=True)
class _Request:
    """Who asks for what."""

    route: Route
    headers: Sequence[tuple[bytes, bytes]]
    query: str
    key: RunKey


class KeyWatch:
    """Cuts off the answers of runs that have lost their order, ended or been cancelled."""

    def __init__(self, gateway: Gateway) -> None:
        """Watch what a gateway has under way."""
        self._gateway = gateway

    async def look(self) -> int:
        """Cut off those that are to end; returns 0, so that its loop waits for its next turn."""
        live = dict(self._gateway.live)
        if not live:
            return 0
        dead = await self._gateway.desk.dead_among({key.token_id for key in live.values()})
        for exchange, key in live.items():
            if key.token_id in dead:
                self._gateway.counters["cut"] += 1
                exchange.cut("key")
        return 0

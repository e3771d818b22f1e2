"""Trying a provider: one cheap question for its models, outside any transaction.

The name is looked up once and the address that was judged is the one connected to; redirects are
not followed; of the answer a bounded part is read, and no key is in what is told of it.
"""

import json
from dataclasses import dataclass
from typing import Any

import httpx2

from agentvine.db.session import Database
from agentvine.domains.gateway.addresses import Destination
from agentvine.domains.gateway.enums import ProviderKind
from agentvine.domains.gateway.errors import (
    CredentialUnusable,
    ProviderAddressForbidden,
    ProviderNotFound,
)
from agentvine.domains.gateway.models import ModelProvider
from agentvine.domains.gateway.upstreams import Upstream
from agentvine.domains.gateway.vault import KeyVault
from agentvine.kit.actor import UserActor
from agentvine.kit.clock import Clock
from agentvine.kit.crypto import SealBroken
from agentvine.kit.guards import assert_no_transaction
from agentvine.protocol.providers import MAX_MODELS, ProviderTestOut

_SECONDS = 20.0
_MAX_BYTES = 4 * 1024 * 1024
_MAX_TOLD = 300
_MAX_NAME = 100
_PATHS = {ProviderKind.ANTHROPIC: "/v1/models?limit=1000", ProviderKind.GEMINI: "/v1beta/models"}
_ANTHROPIC_VERSION = "2023-06-01"


@dataclass(slots=True)
class ProviderProbe:
    """Asks providers for their models, and keeps what they said."""

    database: Database
    vault: KeyVault
    clock: Clock

    async def probe(self, actor: UserActor, upstream: Upstream) -> ProviderTestOut:
        """Ask with one key; the caller has seen to who may.

        Raises:
            ProviderNotFound: It was deleted meanwhile.
        """
        assert_no_transaction("ask a provider")
        started = self.clock.monotonic()
        models: list[str] = []
        problem: str | None = None
        try:
            key = upstream.open_key(self.vault)
            models = await _ask(await upstream.destination(), upstream, key)
        except (_Refused, ProviderAddressForbidden, CredentialUnusable, SealBroken) as error:
            problem = error.detail if not isinstance(error, _Refused) else str(error)
        duration = round((self.clock.monotonic() - started) * 1000)
        await self._keep(actor, upstream, models, problem)
        return ProviderTestOut(
            is_ok=problem is None, problem=problem, duration_ms=duration, models=models
        )

    async def _keep(
        self, actor: UserActor, upstream: Upstream, models: list[str], problem: str | None
    ) -> None:
        async with self.database.transaction(actor) as tx:
            provider = await tx.get(ModelProvider, upstream.provider_id)
            if provider is None:
                raise ProviderNotFound("It was deleted meanwhile.")
            provider.tested_at = tx.now
            provider.test_problem = problem
            if problem is None:
                provider.seen_models = models


class _Refused(Exception):
    """What the provider said, or why it said nothing; without the key."""


async def _ask(destination: Destination, upstream: Upstream, key: str | None) -> list[str]:
    address = destination.addresses[0]
    host = f"[{address}]" if address.version == 6 else str(address)
    url = httpx2.URL(upstream.base_url + _PATHS.get(upstream.kind, "/models"))
    headers = {**_headers(upstream.kind, key), "Host": url.netloc.decode("ascii")}
    # A proxy would look the name up again, so that the address judged is not the one called.
    network = httpx2.AsyncHTTPTransport(trust_env=True)  # whose certificates; it asks no proxy
    async with httpx2.AsyncClient(
        timeout=_SECONDS, follow_redirects=False, transport=network
    ) as http:
        request = http.build_request(
            "GET",
            url.copy_with(host=host, port=destination.port),
            headers=headers,
            extensions={"sni_hostname": destination.host},
        )
        try:
            response = await http.send(request, stream=True)
            try:
                body = await _read(response)
            finally:
                await response.aclose()
        except httpx2.HTTPError as error:
            raise _Refused(_without(key, f"{type(error).__name__}: {error}")) from error
    if response.is_redirect:
        raise _Refused("It redirects elsewhere; name the address that answers itself.")
    if response.status_code != 200:
        raise _Refused(_without(key, f"HTTP {response.status_code}: {_message(body)}"))
    return _names(body)


def _headers(kind: ProviderKind, key: str | None) -> dict[str, str]:
    headers = {"Accept": "application/json"}
    if kind is ProviderKind.ANTHROPIC:
        return headers | {"anthropic-version": _ANTHROPIC_VERSION, "x-api-key": key or ""}
    if kind is ProviderKind.GEMINI:
        return headers | {"x-goog-api-key": key or ""}
    return headers | ({"Authorization": f"Bearer {key}"} if key else {})


async def _read(response: httpx2.Response) -> bytes:
    body = b""
    async for part in response.aiter_bytes():
        body += part
        if len(body) > _MAX_BYTES:
            raise _Refused(f"It answers with more than {_MAX_BYTES >> 20} MiB.")
    return body


def _names(body: bytes) -> list[str]:
    """The models of a list: ``data`` of ``id`` (Anthropic, OpenAI), ``models`` of ``name``."""
    try:
        told: Any = json.loads(body)
        rows: list[Any] = told.get("data") or told.get("models") or []
        names = [str(row.get("id") or row["name"]).removeprefix("models/") for row in rows]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise _Refused("It answers, but not with a list of models.") from error
    return sorted({name for name in names if len(name) <= _MAX_NAME})[:MAX_MODELS]


def _message(body: bytes) -> str:
    try:
        told: Any = json.loads(body)
        text: Any = told["error"]
        if not isinstance(text, str):
            text = text["message"]
    except (ValueError, KeyError, TypeError):
        text = body[:_MAX_TOLD].decode(errors="replace")
    return str(text)


def _without(key: str | None, text: str) -> str:
    if key:
        text = text.replace(key, "...")
    shown = "".join(letter if letter.isprintable() else " " for letter in text)
    return shown[:_MAX_TOLD]

"""Where calls may go, as the relay sees it: looked up in the providers, and kept for a second."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import structlog

from agentvine.db.session import Database
from agentvine.domains.gateway.enums import ModelWire
from agentvine.domains.gateway.errors import CredentialUnusable
from agentvine.domains.gateway.upstreams import (
    Upstream,
    list_upstreams,
    note_limit,
    provider_missing,
)
from agentvine.domains.gateway.vault import KeyVault
from agentvine.domains.usage.calls import Payer
from agentvine.domains.usage.prices import Rates
from agentvine.kit.actor import SystemActor
from agentvine.kit.crypto import SealBroken

_ACTOR = SystemActor("gateway")
_KEPT_SECONDS = 1.0
_MAX_KEPT = 1000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """One provider with one of its keys, good for one model."""

    kind: str
    base_url: str
    """Without a slash at its end."""
    real_model: str
    priced_as: str
    """By which name prices know the provider."""
    is_free: bool = False
    rates: Rates | None = None
    """What somebody has set as its price; None: what the price table says."""
    allows_private: bool = False
    key: str | None = field(default=None, repr=False)
    credential_id: uuid.UUID | None = None
    name: str = ""


class Targets(Protocol):
    """Finds them."""

    async def find(self, payer: Payer, wire: ModelWire, model: str) -> Sequence[Target]:
        """Where a call may go, best first; never empty.

        Raises:
            ModelNotAllowed: The rules do not let the model through.
            ProviderMissing: Nobody answers for it.
        """
        ...

    async def note_limit(self, target: Target, seconds: float, reason: str) -> None:
        """Remember that a provider takes no calls with this key for a while."""
        ...


@dataclass(slots=True)
class ProviderTargets:
    """The providers that the database knows."""

    database: Database
    vault: KeyVault
    _kept: dict[tuple[object, ...], tuple[float, list[Target]]] = field(
        default_factory=dict[tuple[object, ...], tuple[float, list[Target]]]
    )

    async def find(self, payer: Payer, wire: ModelWire, model: str) -> Sequence[Target]:
        """Where a call may go, best first."""
        place = (payer.project_id, payer.agent_id, payer.execution_id, wire, model)
        now = self.database.clock.monotonic()
        known = self._kept.get(place)
        if known is not None and now - known[0] < _KEPT_SECONDS:
            return known[1]
        found = await self._look_up(payer, wire, model)
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[place] = (now, found)
        return found

    async def note_limit(self, target: Target, seconds: float, reason: str) -> None:
        """Remember that a provider takes no calls with this key for a while."""
        self._kept.clear()
        if target.credential_id is not None:
            until = self.database.clock.now() + timedelta(seconds=seconds)
            async with self.database.transaction(_ACTOR) as tx:
                await note_limit(tx, target.credential_id, until, reason)

    async def _look_up(self, payer: Payer, wire: ModelWire, model: str) -> list[Target]:
        # A run stays with one key, where the provider has its context cached.
        turn = payer.execution_id.int & 0xFFFF if payer.execution_id else None
        async with self.database.read() as read:
            upstreams = await list_upstreams(
                read,
                payer.project_id,
                wire,
                model,
                agent_id=payer.agent_id,
                turn=turn,
                now=self.database.clock.now(),
            )
        found = [target for target in map(self._opened(), upstreams) if target is not None]
        if not found:
            raise provider_missing(wire, model)
        return found

    def _opened(self) -> Callable[[Upstream], Target | None]:
        def opened(upstream: Upstream) -> Target | None:
            try:
                key = upstream.open_key(self.vault)
            except (CredentialUnusable, SealBroken) as error:
                log.warning(
                    "gateway.key_unusable", provider=upstream.provider_name, error=error.detail
                )
                return None
            return Target(
                kind=upstream.kind.value,
                base_url=upstream.base_url,
                real_model=upstream.real_model,
                priced_as=upstream.priced_as,
                is_free=upstream.is_free,
                rates=upstream.rates,
                allows_private=upstream.allows_private,
                key=key,
                credential_id=upstream.credential_id,
                name=upstream.provider_name,
            )

        return opened

"""Where a call to a model may go: providers with their keys, in the order in which to try them.

First come those who name the model (and where one does, nobody else is asked), then the project's
own providers before those for all, then what comes from the environment. Of one provider's keys
those that are not limited come first, in turn; a limited one is there to be tried when all are.
"""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import and_, or_, select, update

from agentvine.db.base import table_of
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.gateway.addresses import Destination, resolve
from agentvine.domains.gateway.enums import (
    ModelProviderId,
    ModelWire,
    ProviderCredentialId,
    ProviderKind,
)
from agentvine.domains.gateway.errors import CredentialNotFound, CredentialUnusable, ProviderMissing
from agentvine.domains.gateway.models import ModelProvider, ProviderCredential
from agentvine.domains.gateway.queries import find_rules, is_among
from agentvine.domains.gateway.vault import KeyVault
from agentvine.domains.usage.overrides import PriceBook, read_prices
from agentvine.domains.usage.prices import Rates

_KINDS = {
    ModelWire.ANTHROPIC: (ProviderKind.ANTHROPIC,),
    ModelWire.OPENAI: (ProviderKind.OPENAI, ProviderKind.OPENAI_COMPATIBLE),
    ModelWire.GEMINI: (ProviderKind.GEMINI,),
}
_PRICED_AS = {
    ProviderKind.ANTHROPIC: "anthropic",
    ProviderKind.OPENAI: "openai",
    ProviderKind.GEMINI: "google",
}
_VARIABLES = {
    ModelWire.ANTHROPIC: "ANTHROPIC_API_KEY",
    ModelWire.OPENAI: "OPENAI_API_KEY",
    ModelWire.GEMINI: "GEMINI_API_KEY",
}
_MAX_REASON = 500

KEYS = "provider keys"
"""The channel of the chore that looks at who waits for a key."""

Keyed = tuple[ModelProvider, ProviderCredential | None]
"""A provider with one of its keys, or without where it needs none."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One provider with one of its keys, good for one model."""

    provider_id: ModelProviderId
    provider_name: str
    credential_id: ProviderCredentialId | None
    """None for a machine of one's own that asks for no key."""
    kind: ProviderKind
    base_url: str
    """No slash at its end; that of an OpenAI-like one holds its ``/v1``, others no version."""
    real_model: str
    """What the provider calls the model."""
    is_free: bool
    allows_private: bool
    limited_until: datetime | None
    rates: Rates | None
    """What somebody has set as its price; None: what the price table says."""
    sealed_key: str | None = field(repr=False)
    fingerprint: str

    @property
    def priced_as(self) -> str:
        """By which name prices know the provider."""
        return priced_as(self.kind, self.provider_name)

    def open_key(self, vault: KeyVault) -> str | None:
        """The key itself, to be sent to the provider and nowhere else; None: it needs none.

        Raises:
            SealBroken: It was altered, moved, or sealed elsewhere.
            CredentialUnusable: This process was started without it.
        """
        if self.credential_id is None:
            return None
        return vault.open(self.sealed_key, self.credential_id, self.fingerprint)

    async def destination(self) -> Destination:
        """The addresses that may be connected to; looked up now, not inside a transaction.

        Raises:
            ProviderAddressForbidden: The name leads nowhere, or to where it may not.
        """
        return await resolve(self.base_url, may_be_private=self.allows_private)


async def list_upstreams(
    session: ReadSession,
    project_id: uuid.UUID | None,
    wire: ModelWire,
    model: str,
    *,
    agent_id: uuid.UUID | None = None,
    turn: int | None = None,
    now: datetime | None = None,
) -> list[Upstream]:
    """Where a call may go, best first; empty where nobody answers (see ``provider_missing``).

    Args:
        session: The session.
        project_id: The project whose call it is.
        wire: The language that the caller speaks.
        model: A model's name, or an alias.
        agent_id: Whose own rules hold as well.
        turn: The same number begins with the same key while that is not limited: a run stays where
            the provider has its context cached. Left out: any.
        now: Limits that ended before are none. Left out: what the chore has not cleared holds.

    Raises:
        ModelNotAllowed: The project's or the agent's rules do not let it through.
    """
    rules = await find_rules(session, project_id, agent_id)
    real = rules.meant_by(model)
    rules.check(real)
    rows = serving(await read_keys(session, project_id, wire), real)
    ranked = sorted(rows, key=lambda row: _rank(row[0]))
    # Spreads calls over keys, protects nothing.
    start = random.randrange(1 << 16) if turn is None else turn  # noqa: S311 - hides nothing
    prices = await read_prices(session, real)
    return _ordered([_upstream(*row, real, prices) for row in ranked], start, now)


def serving(rows: Sequence[Keyed], model: str) -> Sequence[Keyed]:
    """Those who answer for a model: the providers that name it, or else those that name none."""
    able = [row for row in rows if not row[0].models or is_among(model, row[0].models)]
    return [row for row in able if row[0].models] or able


def priced_as(kind: ProviderKind, name: str) -> str:
    """By which name prices know a provider."""
    return _PRICED_AS.get(kind, name)


async def get_upstream(
    session: ReadSession, provider: ModelProvider, credential_id: uuid.UUID | None
) -> Upstream:
    """A provider with one of its keys, whatever the model: the first in use, or a named one.

    Raises:
        CredentialNotFound: It has no such key.
        CredentialUnusable: It has no key in use, and needs one.
    """
    keys = select(ProviderCredential).where(ProviderCredential.provider_id == provider.id)
    if credential_id is not None:
        keys = keys.where(ProviderCredential.id == credential_id)
    else:
        keys = keys.where(ProviderCredential.is_active.is_(True))
    key = (await session.scalars(keys.order_by(ProviderCredential.id).limit(1))).first()
    if key is None and credential_id is not None:
        raise CredentialNotFound(f"{provider.name} has no key with the id {credential_id}.")
    if key is None and provider.kind is not ProviderKind.OPENAI_COMPATIBLE:
        raise CredentialUnusable(f"Give it one: `agentvine provider key add {provider.name}`.")
    return _upstream(provider, key, "", PriceBook())


async def list_all(session: ReadSession, project_id: uuid.UUID | None) -> list[ModelProvider]:
    """The providers that can serve a project, in the order in which they are asked."""
    rows = [row for wire in ModelWire for row in await read_keys(session, project_id, wire)]
    found = {provider.id: provider for provider, _ in rows}
    return sorted(found.values(), key=_rank)


def provider_missing(wire: ModelWire, model: str) -> ProviderMissing:
    """What to tell where nobody answers: what to set."""
    return ProviderMissing(
        f"No provider answers for {model}: run `agentvine provider add {wire} --kind {wire}`, "
        f"or start the server with {_VARIABLES[wire]} set.",
        model=model,
        wire=wire.value,
    )


async def read_keys(
    session: ReadSession, project_id: uuid.UUID | None, wire: ModelWire
) -> Sequence[Keyed]:
    """The providers in use that speak a language with a project, each with each of its keys."""
    key = and_(
        ProviderCredential.provider_id == ModelProvider.id, ProviderCredential.is_active.is_(True)
    )
    needs_none = ModelProvider.kind == ProviderKind.OPENAI_COMPATIBLE
    query = (
        select(ModelProvider, ProviderCredential)
        .outerjoin(ProviderCredential, key)
        .where(
            ModelProvider.is_active.is_(True),
            ModelProvider.kind.in_(_KINDS[wire]),
            or_(ModelProvider.project_id.is_(None), ModelProvider.project_id == project_id),
            or_(ProviderCredential.id.is_not(None), needs_none),
        )
        .order_by(ModelProvider.id, ProviderCredential.id)
    )
    return [(provider, credential) for provider, credential in await session.execute(query)]


async def note_limit(
    tx: Transaction, credential_id: uuid.UUID, until: datetime, reason: str
) -> None:
    """Remember that the provider takes no calls with a key before a time; the later one holds."""
    keys = table_of(ProviderCredential)
    await tx.execute(
        update(keys)
        .where(
            keys.c.id == credential_id,
            or_(keys.c.limited_until.is_(None), keys.c.limited_until < until),
        )
        .values(limited_until=until, limit_reason=reason[:_MAX_REASON])
    )
    tx.hint(KEYS)


def _rank(provider: ModelProvider) -> tuple[bool, bool, uuid.UUID]:
    return provider.is_from_environment, provider.project_id is None, provider.id


def _upstream(
    provider: ModelProvider, key: ProviderCredential | None, model: str, prices: PriceBook
) -> Upstream:
    return Upstream(
        provider_id=provider.id,
        provider_name=provider.name,
        credential_id=key.id if key else None,
        kind=provider.kind,
        base_url=provider.base_url,
        real_model=model,
        is_free=provider.is_free,
        allows_private=provider.allows_private,
        limited_until=key.limited_until if key else None,
        rates=prices.rates_of(priced_as(provider.kind, provider.name)),
        sealed_key=key.sealed_key if key else None,
        fingerprint=key.fingerprint if key else "",
    )


def _ordered(upstreams: Sequence[Upstream], start: int, now: datetime | None) -> list[Upstream]:
    """Each provider's keys in turn, then the limited ones after all others, soonest first."""
    of_provider: dict[uuid.UUID, list[Upstream]] = {}
    for upstream in upstreams:
        of_provider.setdefault(upstream.provider_id, []).append(upstream)
    turned: list[Upstream] = []
    for keys in of_provider.values():
        first = start % len(keys)
        turned += keys[first:] + keys[:first]
    return sorted(turned, key=lambda each: _limit_after(each, now))


def _limit_after(upstream: Upstream, now: datetime | None) -> float:
    until = upstream.limited_until
    if until is None or (now is not None and until <= now):
        return 0.0
    return until.timestamp()

"""Reads of the gateway slice: providers, their keys, and the rules for models."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from sqlalchemy import ColumnElement, or_, select, true

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.agents.models import Agent
from agentvine.domains.gateway.errors import CredentialNotFound, ModelNotAllowed, ProviderNotFound
from agentvine.domains.gateway.models import ModelProvider, ModelRules, ProviderCredential
from agentvine.domains.projects import queries as projects
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.providers import CredentialOut, ProviderOut

EVERYWHERE = uuid.UUID(int=0)
"""The scope of the rules that hold for all projects."""


def _visible_providers(actor: Actor) -> ColumnElement[bool]:
    if not isinstance(actor, UserActor) or actor.is_admin:
        return true()
    seen = projects.visible_projects(actor)
    return or_(ModelProvider.project_id.is_(None), ModelProvider.project_id.in_(seen))


async def get_provider(read: ReadSession, actor: Actor, provider_id: uuid.UUID) -> ModelProvider:
    """A provider that the actor may see: one for all, or one of their projects'.

    Raises:
        ProviderNotFound: There is none, or it is not theirs to see.
    """
    query = select(ModelProvider).where(ModelProvider.id == provider_id, _visible_providers(actor))
    provider = await read.scalar(query)
    if provider is None:
        raise ProviderNotFound(f"You can see no provider with the id {provider_id}.")
    return provider


async def get_credential(
    read: ReadSession, actor: Actor, credential_id: uuid.UUID
) -> ProviderCredential:
    """A key of a provider that the actor may see.

    Raises:
        CredentialNotFound: There is none, or it is not theirs to see.
    """
    query = (
        select(ProviderCredential)
        .join(ModelProvider, ModelProvider.id == ProviderCredential.provider_id)
        .where(ProviderCredential.id == credential_id, _visible_providers(actor))
    )
    credential = await read.scalar(query)
    if credential is None:
        raise CredentialNotFound(f"You can see no key with the id {credential_id}.")
    return credential


async def list_providers(read: ReadSession, actor: Actor, page: PageRequest) -> Page[ModelProvider]:
    """The providers that the actor may see, oldest first."""
    query = select(ModelProvider).where(_visible_providers(actor))
    return await fetch_page(read, query, ModelProvider.id, page)


async def providers_out(read: ReadSession, providers: Sequence[ModelProvider]) -> list[ProviderOut]:
    """Providers as clients see them, with their keys."""
    query = (
        select(ProviderCredential)
        .where(ProviderCredential.provider_id.in_([provider.id for provider in providers]))
        .order_by(ProviderCredential.id)
    )
    keys: dict[uuid.UUID, list[CredentialOut]] = {}
    for credential in await read.scalars(query):
        keys.setdefault(credential.provider_id, []).append(CredentialOut.model_validate(credential))
    names = set(ProviderOut.model_fields) - {"credentials"}
    return [
        ProviderOut(
            **{name: getattr(provider, name) for name in names},
            credentials=keys.get(provider.id, []),
        )
        for provider in providers
    ]


@dataclass(frozen=True, slots=True)
class Rules:
    """Which models may be used by an agent in a project, and by which names."""

    allow_lists: tuple[tuple[str, ...], ...] = ()
    """Each must let a model through: who is below can only be stricter."""
    aliases: Mapping[str, str] | None = None
    default_model: str | None = None

    def meant_by(self, name: str) -> str:
        """The model that a name stands for; an alias may stand for another."""
        seen: set[str] = set()
        aliases = self.aliases or {}
        while name in aliases and name not in seen:
            seen.add(name)
            name = aliases[name]
        return name

    def allow(self, model: str) -> bool:
        """Whether a model may be used."""
        return all(is_among(model, names) for names in self.allow_lists)

    def check(self, model: str) -> None:
        """Refuse a model that may not be used.

        Raises:
            ModelNotAllowed: It may not.
        """
        if not self.allow(model):
            names = ", ".join(min(self.allow_lists, key=len))
            raise ModelNotAllowed(
                f"{model} is not among the models that may be used here ({names}): "
                "`agentvine model allow` changes that.",
                model=model,
            )


def is_among(model: str, names: Sequence[str]) -> bool:
    """Whether one of the names or patterns means a model."""
    return any(fnmatchcase(model, name) for name in names)


async def find_rules(
    read: ReadSession, project_id: uuid.UUID | None, agent_id: uuid.UUID | None = None
) -> Rules:
    """The rules that hold for a project, and for an agent in it."""
    scopes = [EVERYWHERE] if project_id is None else [EVERYWHERE, project_id]
    rows = await read.scalars(
        select(ModelRules).where(ModelRules.scope_id.in_(scopes)).order_by(ModelRules.scope_id)
    )
    allow_lists: list[tuple[str, ...]] = []
    aliases: dict[str, str] = {}
    default: str | None = None
    for row in rows:
        if row.allowed:
            allow_lists.append(tuple(row.allowed))
        aliases |= row.aliases
        default = row.default_model or default
    if agent_id is not None:
        config = await read.scalar(select(Agent.model_config).where(Agent.id == agent_id)) or {}
        if allowed := config.get("allowed_models"):
            allow_lists.append(tuple(map(str, allowed)))
        aliases |= config.get("aliases") or {}
        default = config.get("model") or default
    return Rules(tuple(allow_lists), aliases, default)


async def find_own_rules(read: ReadSession, project_id: uuid.UUID | None) -> ModelRules | None:
    """The rules of just a project, or those that hold everywhere."""
    return await read.get(ModelRules, project_id or EVERYWHERE)

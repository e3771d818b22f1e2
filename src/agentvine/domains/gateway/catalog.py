"""The models that may be used in a project, as far as providers and rules name them."""

import uuid
from collections.abc import Sequence

from agentvine.db.session import ReadSession
from agentvine.domains.gateway.models import ModelProvider
from agentvine.domains.gateway.queries import Rules, find_rules, is_among
from agentvine.domains.gateway.upstreams import list_all
from agentvine.protocol.providers import ModelOut

_PATTERN = frozenset("*?[")


async def list_models(read: ReadSession, project_id: uuid.UUID | None) -> list[ModelOut]:
    """Each model once, under the provider that is asked first; the caller has seen to who may.

    Known are those that a provider is set up with, those it named when it was tried, and those that
    the rules name. A provider that takes any name may know others.
    """
    rules = await find_rules(read, project_id)
    providers = await list_all(read, project_id)
    found: dict[str, ModelProvider] = {}
    for provider in sorted(providers, key=lambda each: not each.models):
        for name in _names_of(provider, rules):
            if rules.allow(name):
                found.setdefault(name, provider)
    return [_model_out(name, found[name], rules) for name in sorted(found)]


def _names_of(provider: ModelProvider, rules: Rules) -> Sequence[str]:
    plain = [name for name in provider.models if not _PATTERN & set(name)]
    seen = provider.seen_models
    if provider.models:
        return plain + [name for name in seen if is_among(name, provider.models)]
    if seen:
        return seen
    named = {
        *(rules.aliases or {}).values(),
        *([rules.default_model] if rules.default_model else []),
    }
    return [name for name in map(rules.meant_by, named) if not _PATTERN & set(name)]


def _model_out(name: str, provider: ModelProvider, rules: Rules) -> ModelOut:
    aliases = rules.aliases or {}
    default = rules.default_model
    return ModelOut(
        name=name,
        aliases=sorted(alias for alias in aliases if rules.meant_by(alias) == name),
        is_default=default is not None and rules.meant_by(default) == name,
        provider=provider.name,
        provider_id=provider.id,
        kind=provider.kind,
        is_free=provider.is_free,
    )

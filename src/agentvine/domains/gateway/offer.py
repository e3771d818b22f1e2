"""What a run is told about models: which it may ask for, or what is missing."""

from dataclasses import dataclass
from typing import Any

from agentvine.db.session import ReadSession
from agentvine.domains.gateway.catalog import list_models
from agentvine.domains.gateway.enums import ModelWire, ProviderKind
from agentvine.domains.gateway.errors import ModelMissing
from agentvine.domains.gateway.queries import find_rules
from agentvine.domains.gateway.upstreams import list_all
from agentvine.domains.usage.calls import Payer
from agentvine.protocol.providers import ModelOut

_NOBODY = (
    "No provider of models is set up: run `agentvine provider add anthropic --kind anthropic` "
    "(or --kind openai, openai_compatible, gemini), or start the server with "
    "ANTHROPIC_API_KEY, OPENAI_API_KEY or GEMINI_API_KEY set."
)
_LONG_AGO = "1970-01-01T00:00:00Z"
_KINDS = {
    ModelWire.ANTHROPIC: (ProviderKind.ANTHROPIC,),
    ModelWire.OPENAI: (ProviderKind.OPENAI, ProviderKind.OPENAI_COMPATIBLE),
    ModelWire.GEMINI: (ProviderKind.GEMINI,),
}


@dataclass(frozen=True, slots=True)
class Offer:
    """The models of one run."""

    models: tuple[str, ...]
    default_model: str | None
    problem: str | None
    """What to set where nobody can be asked."""

    def pick(self, named: str | None = None) -> str:
        """The model to ask: the one that is named, the rules' own, or the first.

        Raises:
            ModelMissing: There is none.
        """
        if self.problem is not None:
            raise ModelMissing(self.problem)
        model = named or self.default_model or next(iter(self.models), None)
        if model is None:
            raise ModelMissing("Name one: `agentvine model rules --default MODEL`.")
        return model


async def offer_to(read: ReadSession, payer: Payer) -> Offer:
    """What is offered to whoever pays."""
    rules = await find_rules(read, payer.project_id, payer.agent_id)
    models = await list_models(read, payer.project_id)
    names = {model.name for model in models if rules.allow(model.name)}
    aliases = {
        alias for alias in rules.aliases or {} if rules.meant_by(alias) in names or not names
    }
    is_missing = not await list_all(read, payer.project_id)
    return Offer(
        models=tuple(sorted(names | aliases)),
        default_model=rules.default_model,
        problem=_NOBODY if is_missing else None,
    )


async def models_in(read: ReadSession, payer: Payer, wire: ModelWire) -> dict[str, Any]:
    """The models that may be asked for in a language, as it lists them."""
    rules = await find_rules(read, payer.project_id, payer.agent_id)
    known = [
        model
        for model in await list_models(read, payer.project_id)
        if model.kind in _KINDS[wire] and rules.allow(model.name)
    ]
    names = sorted({name for model in known for name in (model.name, *model.aliases)})
    if wire is ModelWire.ANTHROPIC:
        items = [
            {"type": "model", "id": name, "display_name": name, "created_at": _LONG_AGO}
            for name in names
        ]
        ends = {"first_id": names[0], "last_id": names[-1]} if names else {}
        return {"data": items, "has_more": False, "first_id": None, "last_id": None} | ends
    if wire is ModelWire.GEMINI:
        methods = ["generateContent", "countTokens"]
        return {
            "models": [
                {
                    "name": f"models/{name}",
                    "displayName": name,
                    "supportedGenerationMethods": methods,
                }
                for name in names
            ]
        }
    return {"object": "list", "data": [_openai_model(name, known) for name in names]}


def _openai_model(name: str, known: list[ModelOut]) -> dict[str, Any]:
    owner = next(model.provider for model in known if name in (model.name, *model.aliases))
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}

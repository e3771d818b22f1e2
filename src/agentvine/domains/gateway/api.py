"""Routes of the gateway slice: providers of models, their keys, and who may use which models."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends

from agentvine.domains.gateway import catalog, providers, queries, rules, upstreams
from agentvine.domains.gateway.bodies import CallBodiesNotFound, get_bodies
from agentvine.domains.gateway.errors import (
    CredentialExists,
    CredentialNotFound,
    CredentialUnusable,
    ProviderAddressForbidden,
    ProviderExists,
    ProviderForbidden,
    ProviderHasKeys,
    ProviderNotFound,
    ProviderOfEnvironment,
)
from agentvine.domains.gateway.keys import find_payer, make_key
from agentvine.domains.gateway.models import ModelRules
from agentvine.domains.gateway.offer import offer_to
from agentvine.domains.gateway.probing import ProviderProbe
from agentvine.domains.gateway.routes import PREFIX
from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.errors import ProjectNotFound, ProjectNotYours, ProjectReadOnly
from agentvine.domains.work.errors import LeaseLost
from agentvine.http.deps import Paging, Read, State, Tx, Worker, require
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.models import ModelAccessIn, ModelAccessOut
from agentvine.protocol.providers import (
    CredentialCreateIn,
    CredentialEditIn,
    CredentialOut,
    ModelOut,
    ModelRulesIn,
    ModelRulesOut,
    ProviderCreateIn,
    ProviderEditIn,
    ProviderOut,
    ProviderTestIn,
    ProviderTestOut,
)
from agentvine.protocol.usage import CallBodiesOut

router = APIRouter()

ModelReader = Annotated[UserActor, Depends(require("models:read"))]
UsageReader = Annotated[UserActor, Depends(require("usage:read"))]
ModelWriter = Annotated[UserActor, Depends(require("models:write"))]

_OF_PROJECT = (ProviderForbidden, ProjectNotFound, ProjectReadOnly, ProjectNotYours)
_CHANGE = (ProviderNotFound, *_OF_PROJECT)


@router.get("/model-providers", tags=["model providers"])
async def list_providers(actor: ModelReader, read: Read, page: Paging) -> PageOut[ProviderOut]:
    """The providers of models that you may see: those for all, and those of your projects."""
    found = await queries.list_providers(read, actor, page)
    items = await queries.providers_out(read, found.items)
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.post(
    "/model-providers",
    status_code=201,
    tags=["model providers"],
    responses=responses(ProviderExists, ProviderAddressForbidden, *_OF_PROJECT),
)
async def create_provider(
    body: ProviderCreateIn, actor: ModelWriter, tx: Tx, state: State, once: CreateOnce
) -> ProviderOut:
    """Let models of a provider be called; a key is never told again."""

    async def create() -> ProviderOut:
        vault = state.effect(ProviderProbe).vault
        allow = state.settings.providers.allow_private
        made = await providers.create_provider(tx, actor, body, vault, allow_private=allow)
        [shown] = await queries.providers_out(tx, [made])
        return shown

    return await once.run(tx, body, ProviderOut, create)


@router.get(
    "/model-providers/{provider_id}",
    tags=["model providers"],
    responses=responses(ProviderNotFound),
)
async def get_provider(provider_id: uuid.UUID, actor: ModelReader, read: Read) -> ProviderOut:
    """One provider of models, with its keys as they may be shown."""
    provider = await queries.get_provider(read, actor, provider_id)
    [shown] = await queries.providers_out(read, [provider])
    return shown


@router.patch(
    "/model-providers/{provider_id}",
    tags=["model providers"],
    responses=responses(
        ProviderExists, ProviderAddressForbidden, ProviderHasKeys, ProviderOfEnvironment, *_CHANGE
    ),
)
async def edit_provider(
    provider_id: uuid.UUID, body: ProviderEditIn, actor: ModelWriter, tx: Tx, state: State
) -> ProviderOut:
    """Change a provider; its address only while it has no key."""
    allow = state.settings.providers.allow_private
    provider = await providers.edit_provider(tx, actor, provider_id, body, allow_private=allow)
    [shown] = await queries.providers_out(tx, [provider])
    return shown


@router.delete(
    "/model-providers/{provider_id}",
    status_code=204,
    tags=["model providers"],
    responses=responses(ProviderOfEnvironment, *_CHANGE),
)
async def delete_provider(provider_id: uuid.UUID, actor: ModelWriter, tx: Tx) -> None:
    """Forget a provider and its keys."""
    await providers.delete_provider(tx, actor, provider_id)


@router.post(
    "/model-providers/{provider_id}/test",
    tags=["model providers"],
    responses=responses(CredentialNotFound, CredentialUnusable, *_CHANGE),
)
async def test_provider(
    provider_id: uuid.UUID, body: ProviderTestIn, actor: ModelWriter, state: State
) -> ProviderTestOut:
    """Ask a provider for its models, with one of its keys."""
    async with state.database.read() as read:
        provider = await queries.get_provider(read, actor, provider_id)
        await providers.check_may_change(read, actor, provider.project_id)
        upstream = await upstreams.get_upstream(read, provider, body.credential_id)
    return await state.effect(ProviderProbe).probe(actor, upstream)


@router.post(
    "/model-providers/{provider_id}/credentials",
    status_code=201,
    tags=["model providers"],
    responses=responses(CredentialExists, ProviderOfEnvironment, *_CHANGE),
)
async def add_credential(
    provider_id: uuid.UUID,
    body: CredentialCreateIn,
    actor: ModelWriter,
    tx: Tx,
    state: State,
    once: CreateOnce,
) -> CredentialOut:
    """Give a provider a key more; several are used in turn."""

    async def create() -> CredentialOut:
        vault = state.effect(ProviderProbe).vault
        added = await providers.add_credential(tx, actor, provider_id, body, vault)
        return CredentialOut.model_validate(added)

    return await once.run(tx, body, CredentialOut, create)


@router.patch(
    "/provider-credentials/{credential_id}",
    tags=["model providers"],
    responses=responses(CredentialNotFound, CredentialExists, ProviderOfEnvironment, *_CHANGE),
)
async def edit_credential(
    credential_id: uuid.UUID, body: CredentialEditIn, actor: ModelWriter, tx: Tx, state: State
) -> CredentialOut:
    """Rename a key, put another in its place, or switch it off or on."""
    vault = state.effect(ProviderProbe).vault
    edited = await providers.edit_credential(tx, actor, credential_id, body, vault)
    return CredentialOut.model_validate(edited)


@router.delete(
    "/provider-credentials/{credential_id}",
    status_code=204,
    tags=["model providers"],
    responses=responses(CredentialNotFound, ProviderOfEnvironment, *_CHANGE),
)
async def delete_credential(credential_id: uuid.UUID, actor: ModelWriter, tx: Tx) -> None:
    """Forget a key."""
    await providers.delete_credential(tx, actor, credential_id)


@router.get(
    "/usage/calls/{request_id}/bodies", tags=["usage"], responses=responses(CallBodiesNotFound)
)
async def get_call_bodies(request_id: str, actor: UsageReader, read: Read) -> CallBodiesOut:
    """What was asked and answered in a call, where such is kept; secrets are masked."""
    return await get_bodies(read, actor, request_id)


@router.get("/models", tags=["models"], responses=responses(ProjectNotFound))
async def list_models(
    actor: ModelReader, read: Read, project_id: uuid.UUID | None = None
) -> list[ModelOut]:
    """The models that may be used, in a project or anywhere, and by whom they are served."""
    if project_id is not None:
        await projects.get_project(read, actor, project_id)
    return await catalog.list_models(read, project_id)


@router.get("/model-rules", tags=["models"], responses=responses(ProjectNotFound))
async def get_model_rules(
    actor: ModelReader, read: Read, project_id: uuid.UUID | None = None
) -> ModelRulesOut:
    """Which models may be used in a project, or everywhere, and by which names."""
    if project_id is not None:
        await projects.get_project(read, actor, project_id)
    found = await queries.find_own_rules(read, project_id)
    return _rules_out(found or ModelRules(project_id=project_id, allowed=[], aliases={}))


@router.put("/model-rules", tags=["models"], responses=responses(*_OF_PROJECT))
async def set_model_rules(body: ModelRulesIn, actor: ModelWriter, tx: Tx) -> ModelRulesOut:
    """Let these rules hold in a project, or everywhere, in the place of those that did."""
    return _rules_out(await rules.set_rules(tx, actor, body))


@router.post(
    "/executions/{execution_id}/model-access", tags=["protocol"], responses=responses(LeaseLost)
)
async def give_model_access(
    execution_id: uuid.UUID, body: ModelAccessIn, actor: Worker, tx: Tx, state: State
) -> ModelAccessOut:
    """A key for the gateway, good as long as the claim is; one that was given before is dead."""
    claim = (execution_id, body.order_id, body.fence)
    offer = await offer_to(tx, await find_payer(tx, actor, *claim))
    # Who has a key for the gateway is taken to call models by it, and not by a login of its own.
    text = "" if offer.problem else (await make_key(tx, actor, *claim))[0]
    return ModelAccessOut(
        key=text,
        path=PREFIX,
        url=state.settings.gateway_url or None,
        models=list(offer.models),
        default_model=offer.default_model,
        is_available=offer.problem is None,
        problem=offer.problem,
    )


def _rules_out(found: ModelRules) -> ModelRulesOut:
    return ModelRulesOut.model_validate(found)

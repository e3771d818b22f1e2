"""Providers of models, their keys, and which models may be used."""

import uuid
from collections.abc import Sequence

from pydantic import TypeAdapter

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, edit, get, post
from agentvine.protocol.base import PageOut
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

_MODELS = TypeAdapter(list[ModelOut])
_TEST_SECONDS = 60.0


class ProvidersApi:
    """``model-providers/`` and ``provider-credentials/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(self) -> Listing[ProviderOut]:
        """The providers one may see."""
        return Listing(self._transport, "model-providers", {}, PageOut[ProviderOut])

    async def create(self, body: ProviderCreateIn, *, key: str | None = None) -> ProviderOut:
        """A new provider."""
        call = post("model-providers", body).with_key(key)
        return await self._transport.fetch(call, ProviderOut)

    async def get(self, provider_id: uuid.UUID) -> ProviderOut:
        """One provider."""
        return await self._transport.fetch(get(f"model-providers/{provider_id}"), ProviderOut)

    async def edit(self, provider_id: uuid.UUID, body: ProviderEditIn) -> ProviderOut:
        """Change what is set in the body."""
        call = edit(f"model-providers/{provider_id}", body, None)
        return await self._transport.fetch(call, ProviderOut)

    async def delete(self, provider_id: uuid.UUID) -> None:
        """Forget it and its keys."""
        await self._transport.send(Call("DELETE", f"model-providers/{provider_id}"))

    async def test(
        self, provider_id: uuid.UUID, credential_id: uuid.UUID | None = None
    ) -> ProviderTestOut:
        """Have the server ask it for its models."""
        body = ProviderTestIn(credential_id=credential_id)
        path = f"model-providers/{provider_id}/test"
        call = Call("POST", path, body=body, read_timeout=_TEST_SECONDS)
        return await self._transport.fetch(call, ProviderTestOut)

    async def add_key(
        self, provider_id: uuid.UUID, body: CredentialCreateIn, *, key: str | None = None
    ) -> CredentialOut:
        """A key more."""
        call = post(f"model-providers/{provider_id}/credentials", body).with_key(key)
        return await self._transport.fetch(call, CredentialOut)

    async def edit_key(self, credential_id: uuid.UUID, body: CredentialEditIn) -> CredentialOut:
        """Rename it, replace it, or switch it off or on."""
        call = edit(f"provider-credentials/{credential_id}", body, None)
        return await self._transport.fetch(call, CredentialOut)

    async def delete_key(self, credential_id: uuid.UUID) -> None:
        """Forget a key."""
        await self._transport.send(Call("DELETE", f"provider-credentials/{credential_id}"))


class ModelsApi:
    """``models`` and ``model-rules``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    async def list(self, project_id: uuid.UUID | None = None) -> Sequence[ModelOut]:
        """The models that may be used."""
        call = get("models", {"project_id": project_id})
        return await self._transport.fetch_as(call, _MODELS)

    async def get_rules(self, project_id: uuid.UUID | None = None) -> ModelRulesOut:
        """The rules of a project, or those for all."""
        call = get("model-rules", {"project_id": project_id})
        return await self._transport.fetch(call, ModelRulesOut)

    async def set_rules(self, body: ModelRulesIn) -> ModelRulesOut:
        """Let these rules hold."""
        call = Call("PUT", "model-rules", body=body, is_repeatable=True)
        return await self._transport.fetch(call, ModelRulesOut)

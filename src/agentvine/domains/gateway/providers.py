"""Commands on providers of models and on their keys. All are audited; no key is in any record."""

import uuid
from collections.abc import Mapping

from pydantic import SecretStr
from sqlalchemy import select

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.gateway.addresses import DEFAULT_URLS, check_base_url
from agentvine.domains.gateway.enums import ModelProviderId, ProviderCredentialId
from agentvine.domains.gateway.errors import (
    CredentialExists,
    ProviderAddressForbidden,
    ProviderExists,
    ProviderForbidden,
    ProviderHasKeys,
    ProviderOfEnvironment,
)
from agentvine.domains.gateway.models import ModelProvider, ProviderCredential
from agentvine.domains.gateway.queries import get_credential, get_provider
from agentvine.domains.gateway.upstreams import KEYS
from agentvine.domains.gateway.vault import KeyVault
from agentvine.domains.identity import history
from agentvine.domains.projects import queries as projects
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.providers import (
    CredentialCreateIn,
    CredentialEditIn,
    ProviderCreateIn,
    ProviderEditIn,
)


async def create_provider(
    tx: Transaction,
    actor: UserActor,
    wanted: ProviderCreateIn,
    vault: KeyVault,
    *,
    allow_private: bool,
) -> ModelProvider:
    """Let models of a provider be called.

    Raises:
        ProviderForbidden: Only an admin makes one that serves all projects.
        ProviderExists: There is one of this name.
        ProviderAddressForbidden: It needs an address, or may not have this one.
    """
    await check_may_change(tx, actor, wanted.project_id)
    url = wanted.base_url or DEFAULT_URLS.get(wanted.kind)
    if url is None:
        raise ProviderAddressForbidden("Name its address, like http://127.0.0.1:11434/v1.")
    may_be_private = actor.is_admin or allow_private
    provider = ModelProvider(
        id=ModelProviderId(new_id()),
        project_id=wanted.project_id,
        name=wanted.name,
        kind=wanted.kind,
        base_url=check_base_url(url, may_be_private=may_be_private),
        models=wanted.models,
        is_free=wanted.is_free,
        allows_private=may_be_private,
    )
    await _check_name(tx, provider, wanted.name)
    tx.add(provider)
    _record(tx, "provider.created", provider, None, wanted.model_dump(mode="json", exclude={"key"}))
    await tx.flush()
    if wanted.key is not None:
        await _add_key(tx, provider, vault, wanted.key, "")
    await tx.refresh(provider)
    return provider


async def edit_provider(
    tx: Transaction,
    actor: UserActor,
    provider_id: uuid.UUID,
    change: ProviderEditIn,
    *,
    allow_private: bool,
) -> ModelProvider:
    """Change what is given.

    Raises:
        ProviderNotFound: There is none, or it is not theirs to see.
        ProviderForbidden: It is not theirs to change.
        ProviderHasKeys: Its keys would go to another address.
        ProviderAddressForbidden: It may not have this address.
        ProviderOfEnvironment: Its name and address are the environment's.
    """
    provider = await _get_for_change(tx, actor, provider_id)
    fields = change.model_dump(exclude_unset=True)
    if provider.is_from_environment and {"name", "base_url"} & fields.keys():
        raise _of_environment(provider)
    if "name" in fields and fields["name"] != provider.name:
        await _check_name(tx, provider, fields["name"])
    if "base_url" in fields:
        may_be_private = actor.is_admin or allow_private
        fields["base_url"] = check_base_url(fields["base_url"], may_be_private=may_be_private)
        if fields["base_url"] != provider.base_url:
            await _check_has_no_keys(tx, provider)
            provider.allows_private = may_be_private
    before = {name: getattr(provider, name) for name in fields}
    for name, value in fields.items():
        setattr(provider, name, value)
    _record(tx, "provider.edited", provider, before, fields)
    await tx.flush()
    await tx.refresh(provider)
    return provider


async def delete_provider(tx: Transaction, actor: UserActor, provider_id: uuid.UUID) -> None:
    """Forget a provider and its keys.

    Raises:
        ProviderNotFound: There is none, or it is not theirs to see.
        ProviderForbidden: It is not theirs to change.
        ProviderOfEnvironment: It would be there again at the next start.
    """
    provider = await _get_for_change(tx, actor, provider_id)
    if provider.is_from_environment and await _has_keys(tx, provider):
        raise _of_environment(provider)
    _record(tx, "provider.deleted", provider, {"name": provider.name}, None)
    await tx.delete(provider)


async def add_credential(
    tx: Transaction,
    actor: UserActor,
    provider_id: uuid.UUID,
    wanted: CredentialCreateIn,
    vault: KeyVault,
) -> ProviderCredential:
    """Give a provider a key more; several are used in turn.

    Raises:
        ProviderNotFound: There is none, or it is not theirs to see.
        ProviderForbidden: It is not theirs to change.
        CredentialExists: It has this key.
        ProviderOfEnvironment: Its keys are the environment's.
    """
    provider = await _get_for_change(tx, actor, provider_id)
    if provider.is_from_environment:
        raise _of_environment(provider)
    return await _add_key(tx, provider, vault, wanted.key, wanted.name)


async def edit_credential(
    tx: Transaction,
    actor: UserActor,
    credential_id: uuid.UUID,
    change: CredentialEditIn,
    vault: KeyVault,
) -> ProviderCredential:
    """Rename, replace, or switch a key off or on; a new key has no limit to wait for.

    Raises:
        CredentialNotFound: There is none, or it is not theirs to see.
        ProviderForbidden: It is not theirs to change.
        CredentialExists: The provider has this key.
        ProviderOfEnvironment: It is the environment's, and changes there.
    """
    credential = await get_credential(tx, actor, credential_id)
    provider = await _get_for_change(tx, actor, credential.provider_id)
    given = change.model_dump(exclude_unset=True, exclude={"key"})
    for name, value in given.items():
        setattr(credential, name, value)
    action = "provider.key_edited"
    if change.key is not None:
        if provider.is_from_environment:
            raise _of_environment(provider)
        await _check_is_new(tx, provider, vault.fingerprint(change.key), credential)
        _put(credential, vault, change.key)
        credential.limited_until = credential.limit_reason = None
        action = "provider.key_replaced"
    told = {**given, "credential": credential.name, "fingerprint": credential.fingerprint}
    _record(tx, action, provider, None, told)
    await tx.flush()
    await tx.refresh(credential)
    return credential


async def delete_credential(tx: Transaction, actor: UserActor, credential_id: uuid.UUID) -> None:
    """Forget a key.

    Raises:
        CredentialNotFound: There is none, or it is not theirs to see.
        ProviderForbidden: It is not theirs to change.
        ProviderOfEnvironment: It would be there again at the next start.
    """
    credential = await get_credential(tx, actor, credential_id)
    provider = await _get_for_change(tx, actor, credential.provider_id)
    if provider.is_from_environment:
        raise _of_environment(provider)
    _record(tx, "provider.key_deleted", provider, {"credential": credential.name}, None)
    await tx.delete(credential)


async def check_may_change(
    read: ReadSession, actor: UserActor, project_id: uuid.UUID | None
) -> None:
    """What is a project's is its owner's to change, the rest an admin's.

    Raises:
        ProviderForbidden: It is not theirs to change.
        ProjectNotFound: The project is not theirs to see.
        ProjectNotYours: Nor to administer.
    """
    if project_id is not None:
        await projects.get_own_project(read, actor, project_id)
    elif not actor.is_admin:
        raise ProviderForbidden("Ask an admin: it serves more than a project of yours.")


async def _get_for_change(
    tx: Transaction, actor: UserActor, provider_id: uuid.UUID
) -> ModelProvider:
    provider = await get_provider(tx, actor, provider_id)
    await check_may_change(tx, actor, provider.project_id)
    return provider


async def _add_key(
    tx: Transaction, provider: ModelProvider, vault: KeyVault, key: SecretStr, name: str
) -> ProviderCredential:
    await _check_is_new(tx, provider, vault.fingerprint(key), None)
    credential = ProviderCredential(
        id=ProviderCredentialId(new_id()), provider_id=provider.id, name=name
    )
    _put(credential, vault, key)
    credential.name = name or f"key {credential.fingerprint[:6]}"
    tx.add(credential)
    told = {"credential": credential.name, "fingerprint": credential.fingerprint}
    _record(tx, "provider.key_added", provider, None, told)
    await tx.flush()
    await tx.refresh(credential)
    return credential


def _put(credential: ProviderCredential, vault: KeyVault, key: SecretStr) -> None:
    credential.sealed_key = vault.seal(key, credential.id)
    credential.last_four = vault.last_four(key)
    credential.fingerprint = vault.fingerprint(key)


async def _check_is_new(
    tx: Transaction, provider: ModelProvider, fingerprint: str, but: ProviderCredential | None
) -> None:
    twin = await tx.scalar(
        select(ProviderCredential).where(
            ProviderCredential.provider_id == provider.id,
            ProviderCredential.fingerprint == fingerprint,
        )
    )
    if twin is not None and twin is not but:
        raise CredentialExists(f"{provider.name} has it as {twin.name!r}.")


async def _check_name(tx: Transaction, provider: ModelProvider, name: str) -> None:
    twin = select(ModelProvider.id).where(
        ModelProvider.name == name,
        ModelProvider.project_id.is_not_distinct_from(provider.project_id),
    )
    if await tx.scalar(twin) is not None:
        raise ProviderExists(f"Edit it, or choose another name than {name!r}.")


async def _has_keys(tx: Transaction, provider: ModelProvider) -> bool:
    keys = select(ProviderCredential.id).where(ProviderCredential.provider_id == provider.id)
    return await tx.scalar(keys.limit(1)) is not None


async def _check_has_no_keys(tx: Transaction, provider: ModelProvider) -> None:
    if await _has_keys(tx, provider):
        raise ProviderHasKeys(
            f"Remove the keys of {provider.name} first, or add another provider: a key goes to no "
            "other address than the one that it was given for."
        )


def _of_environment(provider: ModelProvider) -> ProviderOfEnvironment:
    return ProviderOfEnvironment(
        f"Change the variables that the server is started with; {provider.name} can be switched "
        "off here, or limited to some models."
    )


def _record(
    tx: Transaction,
    action: str,
    provider: ModelProvider,
    before: Mapping[str, object] | None,
    after: Mapping[str, object] | None,
) -> None:
    tx.hint(KEYS)
    history.record(
        tx,
        action,
        entity=("model_provider", provider.id),
        project_id=provider.project_id,
        before=before,
        after=after,
    )

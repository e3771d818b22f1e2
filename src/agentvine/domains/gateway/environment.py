"""Providers from the server's environment: known to everybody, with their keys stored nowhere.

At each start their rows are brought in line with the variables, so that limits and switches have
a place; what somebody has said of such a provider since (switched off, only some models) stays.
"""

from sqlalchemy import delete, select

from agentvine.db.session import Transaction
from agentvine.domains.gateway.addresses import DEFAULT_URLS, check_base_url
from agentvine.domains.gateway.enums import ModelProviderId, ProviderCredentialId
from agentvine.domains.gateway.models import ModelProvider, ProviderCredential
from agentvine.domains.gateway.vault import EnvironmentKey, KeyVault
from agentvine.kit.ids import new_id

_LOCK = "providers of the environment"


async def adopt_environment(tx: Transaction, vault: KeyVault) -> int:
    """Make and update the rows of the environment's providers. Returns how many there are.

    Raises:
        ProviderAddressForbidden: An address in the environment is none.
    """
    await tx.dialect.close_lock(tx, _LOCK)
    query = select(ModelProvider).where(ModelProvider.is_from_environment.is_(True))
    known = {provider.kind: provider for provider in await tx.scalars(query)}
    for provider in known.values():
        kept = [vault.fingerprint(each.key) for each in vault.from_environment]
        gone = delete(ProviderCredential).where(
            ProviderCredential.provider_id == provider.id,
            ProviderCredential.fingerprint.not_in(kept),
        )
        await tx.execute(gone)
    for each in vault.from_environment:
        await _adopt(tx, known.get(each.kind), each, vault)
    return len(vault.from_environment)


async def _adopt(
    tx: Transaction, provider: ModelProvider | None, found: EnvironmentKey, vault: KeyVault
) -> None:
    url = check_base_url(found.base_url or DEFAULT_URLS[found.kind], may_be_private=True)
    if provider is None:
        provider = ModelProvider(
            id=ModelProviderId(new_id()),
            name=f"{found.kind}-env",
            kind=found.kind,
            allows_private=True,
            is_from_environment=True,
        )
        tx.add(provider)
    provider.base_url = url
    await tx.flush()
    fingerprint = vault.fingerprint(found.key)
    held = select(ProviderCredential.id).where(
        ProviderCredential.provider_id == provider.id,
        ProviderCredential.fingerprint == fingerprint,
    )
    if await tx.scalar(held) is None:
        tx.add(
            ProviderCredential(
                id=ProviderCredentialId(new_id()),
                provider_id=provider.id,
                name="from the environment",
                last_four=vault.last_four(found.key),
                fingerprint=fingerprint,
            )
        )
        await tx.flush()

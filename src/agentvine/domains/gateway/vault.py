"""Keys of providers: sealed for their rows, and opened only to be sent to the provider."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from agentvine.config.settings import ProviderSettings
from agentvine.domains.gateway.enums import ProviderCredentialId, ProviderKind
from agentvine.domains.gateway.errors import CredentialUnusable
from agentvine.kit.crypto import KeyRing

_PURPOSE = "provider keys"
_LONG_ENOUGH = 16
"""Of a shorter key the last letters would tell too much."""
_FINGERPRINT_DIGITS = 16


@dataclass(frozen=True, slots=True)
class EnvironmentKey:
    """A key that the server was started with."""

    kind: ProviderKind
    base_url: str
    """Empty for the provider's own address."""
    key: SecretStr


@dataclass(frozen=True, slots=True)
class KeyVault:
    """Seals and opens keys; knows those of the environment by their fingerprints."""

    ring: KeyRing
    from_environment: tuple[EnvironmentKey, ...] = ()
    _by_fingerprint: Mapping[str, SecretStr] = field(default_factory=dict[str, SecretStr])

    @classmethod
    def of(cls, secret: SecretStr, settings: ProviderSettings) -> "KeyVault":
        """The vault of an installation."""
        ring = KeyRing.derived_from(secret.get_secret_value(), purpose=_PURPOSE)
        found = tuple(
            EnvironmentKey(ProviderKind(kind), base_url, key)
            for kind, base_url, key in settings.given_keys()
        )
        return cls(ring, found, {_fingerprint(ring, each.key): each.key for each in found})

    def fingerprint(self, key: SecretStr) -> str:
        """The same for the same key, and useless to whoever does not have the secret key."""
        return _fingerprint(self.ring, key)

    def last_four(self, key: SecretStr) -> str:
        """How a key ends, to be told apart by people."""
        text = key.get_secret_value()
        return text[-4:] if len(text) >= _LONG_ENOUGH else ""

    def seal(self, key: SecretStr, credential_id: ProviderCredentialId) -> str:
        """A key for its row."""
        return self.ring.seal(key.get_secret_value(), bound_to=_place(credential_id))

    def open(
        self, sealed_key: str | None, credential_id: ProviderCredentialId, fingerprint: str
    ) -> str:
        """The key itself.

        Raises:
            SealBroken: It was altered, moved, or sealed elsewhere.
            CredentialUnusable: The environment of this process does not have it.
        """
        if sealed_key is not None:
            return self.ring.unseal(sealed_key, bound_to=_place(credential_id))
        key = self._by_fingerprint.get(fingerprint)
        if key is None:
            raise CredentialUnusable("This server was started without the key; start it with it.")
        return key.get_secret_value()


def _place(credential_id: ProviderCredentialId) -> str:
    return f"provider_credentials.sealed_key.{credential_id}"


def _fingerprint(ring: KeyRing, key: SecretStr) -> str:
    # Keyed, so that a short key cannot be found by trying.
    secret = ring.keys[ring.current]
    return hmac.new(secret, key.get_secret_value().encode(), hashlib.sha256).hexdigest()[
        :_FINGERPRINT_DIGITS
    ]

"""Environment variables of contexts: sealed for their rows, told apart without being opened."""

import hashlib
import hmac
import uuid
from dataclasses import dataclass

from pydantic import SecretStr

from agentvine.kit.crypto import KeyRing

_PURPOSE = "environment variables of contexts"
_FINGERPRINT_DIGITS = 16


@dataclass(frozen=True, slots=True)
class ContextVault:
    """Seals values; keeps the key that tells whether two of them are the same."""

    ring: KeyRing

    @classmethod
    def of(cls, secret: SecretStr) -> "ContextVault":
        """The vault of an installation."""
        return cls(KeyRing.derived_from(secret.get_secret_value(), purpose=_PURPOSE))

    def seal(self, repository_id: uuid.UUID, name: str, value: SecretStr) -> dict[str, str]:
        """A value for its row; it opens under this name in this repository's contexts alone."""
        plain = value.get_secret_value()
        place = _place(repository_id, name)
        secret = self.ring.keys[self.ring.current]
        # Keyed, so that a short value cannot be found by trying.
        digest = hmac.new(secret, f"{place}\0{plain}".encode(), hashlib.sha256).hexdigest()
        return {
            "sealed": self.ring.seal(plain, bound_to=place),
            "fingerprint": digest[:_FINGERPRINT_DIGITS],
        }


def _place(repository_id: uuid.UUID, name: str) -> str:
    return f"project_contexts.environment_vars.{repository_id}.{name}"

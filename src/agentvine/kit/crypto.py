"""Passwords, token hashes and sealed values.

Passwords are bcrypt (the data model asks for it), over a SHA-256 digest so that bcrypt's 72-byte
limit neither truncates nor refuses a long pass phrase. Tokens carry 256 bits of entropy, so one
round of SHA-256 is enough for them. Values that must be read back are sealed with AES-256-GCM and
bound to where they are stored: a ciphertext moved to another row does not open.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import bcrypt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from agentvine.kit.errors import Internal

_NONCE_BYTES = 12
_KEY_BYTES = 32


class SealBroken(Internal):
    """A sealed value cannot be opened with the keys at hand."""

    code = "seal_broken"


def hash_password(password: str, *, rounds: int = 12) -> str:
    """A bcrypt hash in its usual text form (60 characters)."""
    return bcrypt.hashpw(_digest(password), bcrypt.gensalt(rounds)).decode()


def verify_password(password: str, hashed: str) -> bool:
    """Whether the password belongs to the hash; a malformed hash matches nothing."""
    try:
        return bcrypt.checkpw(_digest(password), hashed.encode())
    except ValueError:
        return False


def hash_token(token: str) -> str:
    """SHA-256 of a random token, 64 hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def equal(left: str, right: str) -> bool:
    """Compare two secrets in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def _digest(password: str) -> bytes:
    return base64.b64encode(hashlib.sha256(password.encode()).digest())


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Keys by id; the current one seals, all of them open."""

    keys: Mapping[str, bytes]
    current: str

    @classmethod
    def derived_from(cls, secret: str, *, purpose: str) -> "KeyRing":
        """One key for one purpose from the installation's secret key."""
        key = hashlib.sha256(f"agentvine/{purpose}/{secret}".encode()).digest()
        return cls(keys={"1": key}, current="1")

    def seal(self, plain: str, *, bound_to: str) -> str:
        """Encrypt text for one place, named like ``users.totp_secret.<row id>``."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = AESGCM(self.keys[self.current]).encrypt(nonce, plain.encode(), bound_to.encode())
        return f"v1|{self.current}|{base64.b64encode(nonce + sealed).decode()}"

    def unseal(self, text: str, *, bound_to: str) -> str:
        """Decrypt what ``seal`` returned for the same place.

        Raises:
            SealBroken: Unknown key, altered text, or text moved from another place.
        """
        try:
            version, key_id, payload = text.split("|", 2)
            raw = base64.b64decode(payload, validate=True)
            key = self.keys[key_id]
        except (ValueError, KeyError) as error:
            raise SealBroken("The value was not sealed with a key of this installation.") from error
        if version != "v1":
            raise SealBroken(f"The value is sealed in an unknown format, {version!r}.")
        try:
            plain = AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound_to.encode())
        except InvalidTag as error:
            raise SealBroken("The value was altered, moved, or sealed with another key.") from error
        return plain.decode()


def new_key() -> str:
    """A fresh secret key for an installation, as text."""
    return secrets.token_urlsafe(_KEY_BYTES)

"""Keys and secrets: ids are time-ordered and public, tokens are random and never ids."""

import secrets
import uuid

from uuid_utils.compat import uuid7


def new_id() -> uuid.UUID:
    """A UUID of version 7: time-ordered, so that indexes stay local. Not a secret."""
    return uuid7()


def short_id(value: uuid.UUID) -> str:
    """Eight hexadecimal digits for people's eyes, from the random tail (the head is the time)."""
    return value.hex[-8:]


def random_token(nbytes: int = 32) -> str:
    """A URL-safe secret of ``nbytes`` bytes of entropy."""
    return secrets.token_urlsafe(nbytes)

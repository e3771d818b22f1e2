"""Keyset pages: ``{items, next_cursor}``; a cursor is opaque to clients."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from agentvine.kit.errors import Invalid

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500


class CursorInvalid(Invalid):
    """The cursor is not one of ours."""

    code = "cursor_invalid"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a list, and where the next one starts."""

    items: Sequence[T]
    next_cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a list goes on: which list, and the sort key of the last item already seen."""

    listed: str
    key: str


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a client asked for; ``after`` is where the page before it ended."""

    limit: int = DEFAULT_LIMIT
    after: Cursor | None = None


def encode_cursor(listed: str, key: str | int) -> str:
    """Wrap a sort key so that clients do not build on its form.

    Args:
        listed: Which list it belongs to; another one refuses it.
        key: The sort key of the page's last item.
    """
    text = json.dumps([listed, str(key)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> Cursor:
    """What is inside a cursor. It may have been forged: whoever uses the key checks it.

    Raises:
        CursorInvalid: The text was not made by ``encode_cursor``.
    """
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        listed, key = json.loads(raw)
        key.encode()  # half a surrogate pair is text to JSON, and to nobody else
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise _invalid() from error
    if not isinstance(listed, str) or "\0" in key:
        raise _invalid()
    return Cursor(listed, key)


def _invalid() -> CursorInvalid:
    return CursorInvalid("Ask again without the cursor to start from the first page.")

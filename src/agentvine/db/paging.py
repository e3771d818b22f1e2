"""Keyset pages over one unique, indexed column."""

import uuid
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute

from agentvine.db.session import ReadSession
from agentvine.kit.pagination import Cursor, CursorInvalid, Page, PageRequest, encode_cursor

T = TypeVar("T")


async def fetch_page(
    read: ReadSession,
    query: Select[T],
    key: InstrumentedAttribute[Any],
    page: PageRequest,
    *,
    newest_first: bool = False,
) -> Page[T]:
    """One page of a query over whole entities, ordered by a unique column.

    Args:
        read: The session to read in.
        query: What to list, unordered and unlimited.
        key: The unique column that orders the list; its values become the cursors.
        page: Size, and where to go on.
        newest_first: Descending instead of ascending.
    """
    if page.after is not None:
        after = _parse(page.after, key)
        query = query.where(key < after if newest_first else key > after)
    ordered = query.order_by(key.desc() if newest_first else key.asc())
    rows = (await read.scalars(ordered.limit(page.limit + 1))).all()
    items = rows[: page.limit]
    if len(rows) <= page.limit:
        return Page(items)
    return Page(items, encode_cursor(str(key), getattr(items[-1], key.key)))


def _parse(cursor: Cursor, key: InstrumentedAttribute[Any]) -> Any:
    if cursor.listed != str(key):
        raise CursorInvalid("The cursor belongs to another list.")
    python_type = key.type.python_type
    try:
        return uuid.UUID(cursor.key) if python_type is uuid.UUID else python_type(cursor.key)
    except ValueError as error:
        raise CursorInvalid("Ask again without the cursor to start from the first page.") from error

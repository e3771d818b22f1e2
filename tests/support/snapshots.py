"""All rows of a database, to see that something changed nothing, or only what it should."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import select

from agentvine.db.session import Database
from agentvine.domains.mapping import metadata

Rows = dict[str, set[str]]


async def all_rows(database: Database, *, besides: Collection[str] = ()) -> Rows:
    """Every row of every table, as text that can be compared; but of the tables named."""
    rows: Rows = {}
    async with database.read() as read:
        for table in metadata.sorted_tables:
            if table.name not in besides:
                rows[table.name] = {_shown(row) for row in await read.execute(select(table))}
    return rows


def changed_tables(before: Rows, after: Rows) -> dict[str, int]:
    """In which tables rows came, went or changed, and how many."""
    return {
        name: len(after[name] - rows) or len(rows - after[name])
        for name, rows in before.items()
        if after[name] != rows
    }


def _shown(row: Any) -> str:
    return repr(tuple(row))

"""What the server keeps for itself, a row for each name."""

from typing import Any

from sqlalchemy import select

from agentvine.db.base import table_of
from agentvine.db.session import Transaction
from agentvine.domains.identity.models import ServerState


async def lock_state(tx: Transaction, key: str, fresh: Any) -> ServerState:
    """The row of this name, which is ours until the transaction ends; made where there is none.

    Args:
        tx: The transaction.
        key: Its name.
        fresh: What a new one holds.
    """
    row = {"key": key, "value": fresh, "updated_at": tx.now}
    # Made or touched in one statement: after it the row is ours, and nobody can delete it.
    upsert = tx.dialect.upsert(table_of(ServerState), row, keys=["key"], update=["updated_at"])
    await tx.execute(upsert)
    return (await tx.execute(select(ServerState).where(ServerState.key == key))).scalar_one()

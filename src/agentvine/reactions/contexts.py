"""When a change is applied, the repository is not what its newest snapshot says any more."""

from agentvine.db.session import Transaction
from agentvine.domains.contexts import service as contexts
from agentvine.domains.modifications.events import ChangeApplied


async def on_change_applied(tx: Transaction, event: ChangeApplied) -> None:
    """A snapshot is to be taken."""
    if event.modification.repository_id is not None:
        await contexts.request_snapshot(tx, event.modification.repository_id)

"""Where a context may go from where it stands: one table, and the one function that moves it."""

from agentvine.db.session import Transaction
from agentvine.domains.contexts.errors import ContextDeleted
from agentvine.domains.identity import history
from agentvine.domains.projects.enums import ContextStatus
from agentvine.domains.projects.models import ProjectContext

_S = ContextStatus

ALLOWED: dict[ContextStatus, frozenset[ContextStatus]] = {
    _S.ACTIVE: frozenset({_S.ARCHIVED, _S.DELETED}),
    _S.ARCHIVED: frozenset({_S.ACTIVE, _S.DELETED}),
    _S.DELETED: frozenset(),
}


def set_status(tx: Transaction, context: ProjectContext, to: ContextStatus) -> None:
    """Move a context, and write its history. Staying where it is changes nothing.

    Raises:
        ContextDeleted: It comes back from nowhere.
    """
    origin = context.status
    if to is origin:
        return
    if to not in ALLOWED[origin]:
        raise ContextDeleted(f"{context.name} was deleted; take a new snapshot.")
    context.status = to
    history.record(
        tx,
        f"context.{to.value}",
        entity=("context", context.id),
        project_id=context.project_id,
        before={"status": origin.value},
        after={"status": to.value},
    )

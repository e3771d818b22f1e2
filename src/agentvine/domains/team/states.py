"""Where a team run may go: anywhere, as its rows have it, until it is over."""

from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.team.enums import TeamRunStatus
from agentvine.domains.team.errors import TeamRunOver
from agentvine.domains.team.models import TeamRun

_S = TeamRunStatus

FINAL = frozenset({_S.COMPLETED, _S.FAILED, _S.CANCELLED})
ALLOWED: dict[TeamRunStatus, frozenset[TeamRunStatus]] = {
    # The status follows from the steps: one that a person tries again takes the run back to it.
    status: frozenset() if status in FINAL else frozenset(_S) - {status}
    for status in _S
}


def set_status(
    tx: Transaction, run: TeamRun, to: TeamRunStatus, *, reason: str | None = None
) -> bool:
    """Move a run and write its history; whether that is news. Staying changes the reason.

    Raises:
        TeamRunOver: It is over.
    """
    origin = run.status
    if to is origin:
        is_news = run.status_reason != reason
        run.status_reason = reason
        return is_news
    if to not in ALLOWED[origin]:
        raise TeamRunOver(f"The team run is {origin}; begin another one.", status=origin.value)
    run.status, run.status_reason = to, reason
    run.completed_at = tx.now if to in FINAL else None
    history.record(
        tx,
        f"team_run.{to.value}",
        entity=("team_run", run.id),
        project_id=run.project_id,
        before={"status": origin.value},
        after={"status": to.value, "reason": reason},
    )
    return True

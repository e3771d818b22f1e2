"""Where a version may go from where it stands: one table, and the one function that moves it."""

import uuid

from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.plans.enums import PlanStatus
from agentvine.domains.plans.errors import PlanTransitionInvalid
from agentvine.domains.plans.models import Plan

_S = PlanStatus

ALLOWED: dict[PlanStatus, frozenset[PlanStatus]] = {
    _S.DRAFT: frozenset({_S.ACTIVE, _S.ARCHIVED}),
    # Archived at once where a newer version takes its place.
    _S.ACTIVE: frozenset({_S.COMPLETED, _S.ARCHIVED}),
    _S.COMPLETED: frozenset({_S.ARCHIVED}),
    _S.ARCHIVED: frozenset(),
}


def set_status(
    tx: Transaction,
    plan: Plan,
    to: PlanStatus,
    *,
    project_id: uuid.UUID | None,
    reason: str | None = None,
) -> None:
    """Move a version, and write its history. Staying where it is is no move.

    Raises:
        PlanTransitionInvalid: The table does not allow it.
    """
    origin = plan.status
    if to is origin:
        return
    if to not in ALLOWED[origin]:
        raise PlanTransitionInvalid(
            f"Version {plan.version} of {plan.name} is {origin}; it cannot become {to}.",
            current_status=origin.value,
            allowed=sorted(status.value for status in ALLOWED[origin]),
        )
    plan.status = to
    history.record(
        tx,
        "plan.activated" if to is _S.ACTIVE else f"plan.{to.value}",
        entity=("plan", plan.id),
        project_id=project_id,
        before={"status": origin.value},
        after={"status": to.value, "version": plan.version, "reason": reason},
    )

"""Where a change may go from where it stands."""

from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.modifications.errors import DecisionImpossible
from agentvine.domains.modifications.models import Modification

_S = ModificationStatus

ALLOWED: dict[ModificationStatus, frozenset[ModificationStatus]] = {
    _S.PENDING: frozenset({_S.APPROVED, _S.REJECTED}),
    # A request that was approved waits again, for what is decided about the change that came of it;
    # it has failed when none came.
    _S.APPROVED: frozenset({_S.APPLIED, _S.REJECTED, _S.PENDING, _S.FAILED}),
    # An applied change can be reverted, which is noted beside its status.
    _S.APPLIED: frozenset(),
    # The work of a failed run is kept to be looked at; it is never applied. A request whose task
    # has failed goes on when the task is tried again, and brings a change then.
    _S.FAILED: frozenset({_S.REJECTED, _S.PENDING}),
    # Only when it was merged at the very moment somebody turned it down.
    _S.REJECTED: frozenset({_S.APPLIED}),
}

OPEN = frozenset({_S.PENDING, _S.APPROVED})
"""Those that may still be applied."""


def set_status(modification: Modification, to: ModificationStatus) -> None:
    """Move a change.

    Raises:
        DecisionImpossible: The table does not allow it.
    """
    if to not in ALLOWED[modification.status]:
        raise DecisionImpossible(
            f"It is {modification.status}; it cannot become {to}.",
            current_status=modification.status.value,
        )
    modification.status = to

"""What happens to changes, told to the reactions in the same transaction."""

from dataclasses import dataclass

from agentvine.domains.modifications.models import Modification


@dataclass(frozen=True, slots=True)
class ChangeRecorded:
    """A run that did not fail has left a change. By now it may be approved already."""

    modification: Modification


@dataclass(frozen=True, slots=True)
class ChangeApplied:
    """The change is in its target branch."""

    modification: Modification


@dataclass(frozen=True, slots=True)
class ChangeNotApplicable:
    """The change could not be applied; somebody must look."""

    modification: Modification
    reason: str


@dataclass(frozen=True, slots=True)
class ChangeRejected:
    """Somebody does not want the change."""

    modification: Modification
    reason: str

"""What was foreseen of a change beside what it came to."""

from agentvine.domains.modifications.models import Modification
from agentvine.domains.modifications.service import is_unseen
from agentvine.protocol.impact import (
    ForeseenImpact,
    ImpactComparison,
    ModificationImpactOut,
    Reach,
    RealImpact,
)


def impact_of(modification: Modification) -> ModificationImpactOut:
    """The impact of a modification, as far as it has come."""
    stored = modification.foreseen
    foreseen = None if stored is None else ForeseenImpact.model_validate(stored)
    real = _real(modification)
    return ModificationImpactOut(
        modification_id=modification.id,
        request=modification.request,
        foreseen=foreseen,
        real=real,
        comparison=_compare(foreseen, real) if foreseen and real else None,
    )


def _real(modification: Modification) -> RealImpact | None:
    if modification.head_commit is None or is_unseen(modification):
        return None
    reach = modification.impact_analysis.get("reach")
    return RealImpact(
        files=modification.affected_files,
        reach=None if reach is None else Reach.model_validate(reach),
        notes=modification.impact_analysis.get("notes", []),
    )


def _compare(foreseen: ForeseenImpact, real: RealImpact) -> ImpactComparison:
    likely, changed = [file.path for file in foreseen.files], set(real.files)
    return ImpactComparison(
        hit=[path for path in likely if path in changed],
        missed=[path for path in likely if path not in changed],
        surprise=[path for path in real.files if path not in set(likely)],
    )

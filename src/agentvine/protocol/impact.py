"""What a change is foreseen to touch, and what it has touched, on the wire."""

import uuid
from enum import StrEnum

from agentvine.protocol.base import Output


class RiskLevel(StrEnum):
    """How much care a change needs."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Risk(Output):
    """A level, and in sentences why it is no lower."""

    level: RiskLevel
    reasons: list[str]


class LikelyFile(Output):
    """A file that a request will probably change."""

    path: str
    score: float
    """Beside the other files' scores; it has no unit."""
    reasons: list[str]


class Dependants(Output):
    """Files that depend on the changed ones over so many imports."""

    depth: int
    count: int
    files: list[str]
    """The first of them."""


class Reach(Output):
    """How far the change of some files goes."""

    dependants: list[Dependants]
    tests: list[str]
    """Tests that reach one of the files, or are among them."""
    interfaces: list[str]
    """Public names of the files that others import, as ``path: name``."""
    migrations: list[str]
    risk: Risk


class ForeseenImpact(Output):
    """What an analysis of the request's words says before anything runs."""

    schema_version: int = 1
    commit: str
    """The commit that was looked at."""
    files: list[LikelyFile]
    reach: Reach
    notes: list[str]
    """In sentences what was not looked at."""


class RealImpact(Output):
    """The same analysis of the files that were changed in truth."""

    files: list[str]
    reach: Reach | None
    """None for changes that were made before there was such an analysis."""
    notes: list[str]


class ImpactComparison(Output):
    """Foreseen beside real."""

    hit: list[str]
    """Foreseen, and changed."""
    missed: list[str]
    """Foreseen, but not changed."""
    surprise: list[str]
    """Changed, but not foreseen."""


class ModificationImpactOut(Output):
    """The impact of a modification, as far as it has come."""

    modification_id: uuid.UUID
    request: str
    foreseen: ForeseenImpact | None
    """None when nobody asked for it in words: its task was made directly."""
    real: RealImpact | None
    """None while nothing has been changed."""
    comparison: ImpactComparison | None

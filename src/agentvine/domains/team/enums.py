"""Ids and enumerations of the team slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.team import Severity, TeamRole, TeamRunStatus, VerdictOutcome

__all__ = [
    "Severity",
    "TeamRole",
    "TeamRunId",
    "TeamRunStatus",
    "TeamStepId",
    "TeamVerdictId",
    "VerdictOutcome",
]

TeamRunId = NewType("TeamRunId", UUID)
TeamStepId = NewType("TeamStepId", UUID)
TeamVerdictId = NewType("TeamVerdictId", UUID)

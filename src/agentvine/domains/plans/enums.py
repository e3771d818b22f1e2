"""Ids and enumerations of the plans slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import ArtifactType, ChatSessionStatus, PlanStatus

__all__ = [
    "ArtifactType",
    "ChatSessionId",
    "ChatSessionStatus",
    "PlanArtifactId",
    "PlanId",
    "PlanStatus",
]

PlanId = NewType("PlanId", UUID)
PlanArtifactId = NewType("PlanArtifactId", UUID)
ChatSessionId = NewType("ChatSessionId", UUID)

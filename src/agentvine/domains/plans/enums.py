"""Ids and enumerations of the plans slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import ArtifactType, PlanStatus

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


class ChatSessionStatus(StrEnum):
    """Whether the dialogue about a plan goes on."""

    ACTIVE = "active"
    COMPLETED = "completed"

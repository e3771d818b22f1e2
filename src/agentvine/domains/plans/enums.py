"""Ids and enumerations of the plans slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

PlanId = NewType("PlanId", UUID)
PlanArtifactId = NewType("PlanArtifactId", UUID)
ChatSessionId = NewType("ChatSessionId", UUID)


class PlanStatus(StrEnum):
    """Where a plan version stands."""

    DRAFT = "draft"
    ACTIVE = "active"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class ArtifactType(StrEnum):
    """What a plan's artifact holds."""

    FEATURE_PLAN = "feature_plan"
    IMPLEMENTATION_STEPS = "implementation_steps"
    CODE_CHANGES = "code_changes"


class ChatSessionStatus(StrEnum):
    """Whether the dialogue about a plan goes on."""

    ACTIVE = "active"
    COMPLETED = "completed"

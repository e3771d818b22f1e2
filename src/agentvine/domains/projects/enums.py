"""Ids and enumerations of the projects slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import ContextStatus

__all__ = [
    "ContextStatus",
    "MemberRole",
    "ProjectContextId",
    "ProjectId",
    "RepositoryId",
]

ProjectId = NewType("ProjectId", UUID)
RepositoryId = NewType("RepositoryId", UUID)
ProjectContextId = NewType("ProjectContextId", UUID)


class MemberRole(StrEnum):
    """What a member may do in one project; its owner may do everything."""

    DEVELOPER = "developer"
    VIEWER = "viewer"

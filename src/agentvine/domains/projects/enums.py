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
    "TemplateCategory",
    "TemplateComplexity",
    "TemplateId",
]

ProjectId = NewType("ProjectId", UUID)
RepositoryId = NewType("RepositoryId", UUID)
ProjectContextId = NewType("ProjectContextId", UUID)


class MemberRole(StrEnum):
    """What a member may do in one project; its owner may do everything."""

    DEVELOPER = "developer"
    VIEWER = "viewer"


class TemplateCategory(StrEnum):
    """What kind of project a template makes."""

    API = "api"
    WEB = "web"
    MOBILE = "mobile"
    DATA = "data"
    MICROSERVICE = "microservice"


class TemplateComplexity(StrEnum):
    """How much a template sets up."""

    SIMPLE = "simple"
    MEDIUM = "medium"
    COMPLEX = "complex"
class ContextStatus(StrEnum):
    """Where a project context stands; `deleted` is its soft delete."""

    ACTIVE = "active"
    ARCHIVED = "archived"
    DELETED = "deleted"

"""Ids and enumerations of the tasks slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import (
    DependencyType,
    PermissionLevel,
    TaskFileSource,
    TaskPriority,
    TaskStatus,
    TaskType,
)

__all__ = [
    "DependencyType",
    "PermissionLevel",
    "TaskDependencyId",
    "TaskFileId",
    "TaskFileSource",
    "TaskId",
    "TaskPriority",
    "TaskStatus",
    "TaskType",
]


TaskId = NewType("TaskId", UUID)
TaskDependencyId = NewType("TaskDependencyId", UUID)
TaskFileId = NewType("TaskFileId", UUID)

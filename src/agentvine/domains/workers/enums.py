"""Ids and enumerations of the workers slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import CapabilityLevel, TaskType, WorkerStatus

__all__ = [
    "CapabilityLevel",
    "EnrolmentId",
    "WorkerCapabilityId",
    "WorkerId",
    "WorkerStatus",
    "WorkerType",
]


WorkerId = NewType("WorkerId", UUID)
WorkerCapabilityId = NewType("WorkerCapabilityId", UUID)
EnrolmentId = NewType("EnrolmentId", UUID)

WorkerType = TaskType
"""A worker takes the kinds of work that tasks name."""

"""Ids and enumerations of the work slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import AssignmentStatus, LimitScope, OrderStatus

__all__ = [
    "AssignmentStatus",
    "CapabilitySetId",
    "LimitId",
    "LimitScope",
    "OrderStatus",
    "WorkOrderId",
    "WorkerAssignmentId",
]


WorkOrderId = NewType("WorkOrderId", UUID)
WorkerAssignmentId = NewType("WorkerAssignmentId", UUID)
CapabilitySetId = NewType("CapabilitySetId", int)
LimitId = NewType("LimitId", int)

"""Ids and enumerations of the work slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.controls import MessageState
from agentvine.protocol.enums import AssignmentStatus, LimitScope, OrderStatus

__all__ = [
    "AssignmentStatus",
    "CapabilitySetId",
    "LimitId",
    "LimitScope",
    "MessageState",
    "OrderStatus",
    "RunMessageId",
    "WorkOrderId",
    "WorkerAssignmentId",
]


WorkOrderId = NewType("WorkOrderId", UUID)
WorkerAssignmentId = NewType("WorkerAssignmentId", UUID)
CapabilitySetId = NewType("CapabilitySetId", int)
LimitId = NewType("LimitId", int)
RunMessageId = NewType("RunMessageId", UUID)

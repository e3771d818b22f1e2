"""Ids and enumerations of the executions slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import ExecutionPhase, ExecutionStatus, LogLevel

__all__ = ["ExecutionId", "ExecutionLogId", "ExecutionPhase", "ExecutionStatus", "LogLevel"]


ExecutionId = NewType("ExecutionId", UUID)
ExecutionLogId = NewType("ExecutionLogId", int)

"""Ids and enumerations of the agents slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import AgentType

__all__ = ["AgentId", "AgentMemoryId", "AgentRevisionId", "AgentType"]

AgentId = NewType("AgentId", UUID)
AgentMemoryId = NewType("AgentMemoryId", UUID)
AgentRevisionId = NewType("AgentRevisionId", UUID)

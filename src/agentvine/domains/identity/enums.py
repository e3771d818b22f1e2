"""Ids and enumerations of the identity slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

from agentvine.protocol.enums import UserRole

__all__ = [
    "ApiTokenId",
    "AuditEventId",
    "EventId",
    "LoginSessionId",
    "RecoveryCodeId",
    "TokenKind",
    "UserId",
    "UserRole",
]


UserId = NewType("UserId", UUID)
ApiTokenId = NewType("ApiTokenId", UUID)
LoginSessionId = NewType("LoginSessionId", UUID)
RecoveryCodeId = NewType("RecoveryCodeId", UUID)
AuditEventId = NewType("AuditEventId", int)
EventId = NewType("EventId", int)


class TokenKind(StrEnum):
    """Who a token stands for: a person, a worker daemon, or one run.

    What a run's token is good for is in how it begins: see ``tokens``.
    """

    USER = "user"
    WORKER = "worker"
    GATEWAY = "gateway"

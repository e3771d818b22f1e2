"""Ids and enumerations of the notifications slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

NotificationId = NewType("NotificationId", UUID)


class Severity(StrEnum):
    """How urgent a notification is."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

"""Ids and enumerations of the notifications slice."""

from typing import NewType
from uuid import UUID

from agentvine.protocol.notifications import Channel, NotificationType, Severity, Wanted

__all__ = ["Channel", "NotificationId", "NotificationType", "Severity", "Wanted"]

NotificationId = NewType("NotificationId", UUID)

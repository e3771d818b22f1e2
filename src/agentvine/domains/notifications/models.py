"""Tables of the notifications slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    choice,
    document,
    flag,
    foreign_key,
    integer,
    present_index,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.domains.agents.enums import AgentId
from agentvine.domains.identity.enums import UserId
from agentvine.domains.notifications.enums import NotificationId, Severity
from agentvine.domains.projects.enums import ProjectId


class Notification(Base):
    """What one person has to know."""

    __tablename__ = "notifications"
    __table_args__ = (
        Index("idx_notifications_user", "user_id"),
        Index("idx_notifications_read", "user_id", "is_read"),
        Index("idx_notifications_created", "created_at"),
        Index("idx_notifications_project", "project_id"),
        Index("idx_notifications_agent", "agent_id"),
        Index("uq_notifications_user_key", "user_id", "key", unique=True),
        Index("idx_notifications_newest", "user_id", "id"),
        present_index("idx_notifications_next_attempt", "next_attempt_at"),
    )

    id: Mapped[NotificationId] = uuid_key()
    type: Mapped[str] = varchar(50)
    title: Mapped[str] = varchar(200)
    message: Mapped[str] = mapped_column(Text())
    severity: Mapped[Severity] = choice(Severity, 20, default=Severity.INFO, nullable=True)
    user_id: Mapped[UserId] = foreign_key("users.id", on_delete="CASCADE")
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id")
    agent_id: Mapped[AgentId | None] = foreign_key("agents.id")
    is_read: Mapped[bool] = flag(default=False)
    sent_telegram: Mapped[bool] = flag(default=False)
    sent_email: Mapped[bool] = flag(default=False)
    attempts: Mapped[int] = integer(0, nullable=False)
    next_attempt_at: Mapped[datetime | None] = stamp()
    """When the channels are looked at next: set exactly while something may still be sent."""
    key: Mapped[str | None] = varchar(200)
    """Names what it tells of: one event makes one row for a person, however often it is handled.

    NULL only where raw SQL writes a row.
    """
    metadata_: Mapped[dict[str, Any]] = document(dict, nullable=True, name="metadata")
    created_at: Mapped[datetime] = stamp_now()

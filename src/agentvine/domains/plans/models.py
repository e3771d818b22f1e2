"""Tables of the plans slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    choice,
    document,
    foreign_key,
    gin_index,
    integer,
    partial_index,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.types import Json
from agentvine.domains.plans.enums import (
    ArtifactType,
    ChatSessionId,
    ChatSessionStatus,
    PlanArtifactId,
    PlanId,
    PlanStatus,
)
from agentvine.domains.projects.enums import RepositoryId


class Plan(Base):
    """One version of what shall be built."""

    __tablename__ = "plans"
    __table_args__ = (
        UniqueConstraint("repository_id", "name", "version"),
        Index("idx_plans_repository_status", "repository_id", "status"),
        Index("idx_plans_version", "repository_id", "name", "version"),
        Index("idx_plans_status", "status"),
        # What a name stands for now is one version, whoever accepts two at once.
        partial_index(
            "uq_plans_one_active", "repository_id", "name", where="status = 'active'", unique=True
        ),
    )

    id: Mapped[PlanId] = uuid_key()
    repository_id: Mapped[RepositoryId] = foreign_key("repositories.id", on_delete="CASCADE")
    name: Mapped[str] = varchar(255)
    description: Mapped[str | None] = mapped_column(Text())
    target_branch: Mapped[str] = varchar(100)
    version: Mapped[int] = integer(1, nullable=False)
    status: Mapped[PlanStatus] = choice(PlanStatus, 20, default=PlanStatus.DRAFT, nullable=True)
    row_version: Mapped[int] = integer(1, nullable=False)
    """Grows with every change of the version or its artifacts."""
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()

    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012  # read once by the mapper


class PlanArtifact(Base):
    """A part of a plan: the feature plan, its steps, the code changes.

    The newest of its type counts; those before it are how it came about.
    """

    __tablename__ = "plan_artifacts"
    __table_args__ = (
        Index("idx_plan_artifacts_plan_type", "plan_id", "artifact_type"),
        gin_index("idx_plan_artifacts_content_gin", "content"),
    )

    id: Mapped[PlanArtifactId] = uuid_key()
    plan_id: Mapped[PlanId] = foreign_key("plans.id", on_delete="CASCADE")
    content: Mapped[Any] = mapped_column(Json(), nullable=False)
    artifact_type: Mapped[ArtifactType] = choice(ArtifactType, 30)
    created_by: Mapped[str | None] = varchar(200)
    """As audit rows write it; NULL where raw SQL made it."""
    created_at: Mapped[datetime] = stamp_now()


class ChatSession(Base):
    """The dialogue in which a plan is made, kept whole."""

    __tablename__ = "chat_sessions"
    __table_args__ = (
        Index("idx_chat_sessions_plan_status", "plan_id", "status"),
        Index("idx_chat_sessions_status", "status"),
        gin_index("idx_chat_messages_gin", "messages"),
    )

    id: Mapped[ChatSessionId] = uuid_key()
    plan_id: Mapped[PlanId] = foreign_key("plans.id", on_delete="CASCADE")
    messages: Mapped[list[Any]] = document(list, "[]")
    status: Mapped[ChatSessionStatus] = choice(
        ChatSessionStatus, 20, default=ChatSessionStatus.ACTIVE, nullable=True
    )
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()

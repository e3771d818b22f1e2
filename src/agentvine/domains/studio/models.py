"""Tables of the studio slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    choice,
    document,
    foreign_key,
    integer,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.types import Json
from agentvine.domains.identity.enums import UserId
from agentvine.domains.projects.enums import ProjectId
from agentvine.domains.studio.enums import SchemaDesignId, SchemaDialect


class SchemaDesign(Base):
    """One version of a database schema that was designed here."""

    __tablename__ = "schema_designs"
    __table_args__ = (
        UniqueConstraint("project_id", "name", "version"),
        Index("idx_schema_designs_created_by", "created_by"),
    )

    id: Mapped[SchemaDesignId] = uuid_key()
    project_id: Mapped[ProjectId] = foreign_key("projects.id", on_delete="CASCADE")
    name: Mapped[str] = varchar(200)
    version: Mapped[int] = integer(1, nullable=False)
    dialect: Mapped[SchemaDialect] = choice(SchemaDialect, 20, default=SchemaDialect.POSTGRESQL)
    requirements: Mapped[str | None] = mapped_column(Text())
    model: Mapped[dict[str, Any]] = document(dict)
    report: Mapped[dict[str, Any] | None] = mapped_column(Json())
    created_by: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    created_at: Mapped[datetime] = stamp_now(nullable=False)
    updated_at: Mapped[datetime] = stamp_now(nullable=False)

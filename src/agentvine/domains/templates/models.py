"""Tables of the templates slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, Text
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
    string_list,
    uuid_key,
    varchar,
)
from agentvine.domains.identity.enums import UserId
from agentvine.domains.projects.enums import ProjectId
from agentvine.domains.templates.enums import TemplateCategory, TemplateComplexity, TemplateId


class Template(Base):
    """The files and variables that a new project can be made from."""

    __tablename__ = "templates"
    __table_args__ = (
        Index("idx_templates_category", "category"),
        Index("idx_templates_complexity", "complexity"),
        Index("idx_templates_created_at", "created_at"),
        gin_index("idx_templates_files", "files"),
        gin_index("idx_templates_tech_stack", "tech_stack"),
        gin_index("idx_templates_tags", "tags"),
        # One of each name in a project, and one among those for all projects; UNIQUE lets NULLs
        # differ. The first leads with the foreign key.
        partial_index(
            "uq_templates_project_name",
            "project_id",
            "name",
            where="project_id IS NOT NULL",
            unique=True,
        ),
        partial_index(
            "uq_templates_name_without_project",
            "name",
            where="project_id IS NULL",
            unique=True,
        ),
        Index("idx_templates_project", "project_id"),
        Index("idx_templates_created_by", "created_by"),
    )

    id: Mapped[TemplateId] = uuid_key()
    name: Mapped[str] = varchar(255)
    description: Mapped[str | None] = mapped_column(Text())
    category: Mapped[TemplateCategory] = choice(TemplateCategory, 50)
    files: Mapped[dict[str, Any]] = document(dict)
    """By path: a text, or content, encoding, executable and verbatim."""
    required_vars: Mapped[list[str]] = string_list(nullable=False)
    optional_vars: Mapped[list[str]] = string_list(nullable=False)
    tech_stack: Mapped[list[str]] = string_list(nullable=False)
    estimated_setup_time: Mapped[int | None] = mapped_column(Integer())
    """Minutes."""
    complexity: Mapped[TemplateComplexity] = choice(
        TemplateComplexity, 20, default=TemplateComplexity.MEDIUM
    )
    tags: Mapped[list[str]] = string_list(nullable=False)
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    variables: Mapped[list[Any]] = document(list, "[]")
    """What is known of each variable, in their order."""
    test_command: Mapped[str | None] = mapped_column(Text())
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id", on_delete="CASCADE")
    created_by: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    row_version: Mapped[int] = integer(1, nullable=False)

    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012  # read once by the mapper

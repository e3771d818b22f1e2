"""Tables of the agents slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    choice,
    document,
    flag,
    foreign_key,
    integer,
    partial_index,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.fulltext import WordIndex, keep_words
from agentvine.db.types import Json
from agentvine.domains.agents.enums import AgentId, AgentMemoryId, AgentRevisionId, AgentType
from agentvine.domains.projects.enums import ProjectId


class Agent(Base):
    """A role in a team; without a project it serves all of them."""

    __tablename__ = "agents"
    __table_args__ = (
        Index("idx_agents_project", "project_id"),
        Index("idx_agents_type", "type"),
    )

    id: Mapped[AgentId] = uuid_key()
    name: Mapped[str] = varchar(50)
    type: Mapped[AgentType] = choice(AgentType, 20)
    model_config: Mapped[dict[str, Any]] = document(dict)
    system_prompt: Mapped[str | None] = mapped_column(Text())
    rules_file_path: Mapped[str | None] = varchar(500)
    is_active: Mapped[bool] = flag(default=True)
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id", on_delete="CASCADE")
    revision: Mapped[int] = integer(1, nullable=False)
    """How often it was set up; grows with each change."""
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()

    __mapper_args__ = {"version_id_col": revision}  # noqa: RUF012  # read once by the mapper


class AgentRevision(Base):
    """How an agent was set up, kept for ever: by number, and who set it up so."""

    __tablename__ = "agent_revisions"
    __table_args__ = (UniqueConstraint("agent_id", "revision"),)

    id: Mapped[AgentRevisionId] = uuid_key()
    agent_id: Mapped[AgentId] = foreign_key("agents.id", on_delete="CASCADE")
    revision: Mapped[int] = mapped_column(Integer())
    name: Mapped[str] = varchar(50)
    model_config: Mapped[dict[str, Any]] = document(dict)
    system_prompt: Mapped[str | None] = mapped_column(Text())
    rules_file_path: Mapped[str | None] = varchar(500)
    is_active: Mapped[bool] = flag(default=True, nullable=False)
    changed_by: Mapped[str] = varchar(200)
    """As audit rows write it."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class AgentMemory(Base):
    """Something an agent has learnt, about one project or in general."""

    __tablename__ = "agent_memory"
    __table_args__ = (
        UniqueConstraint("agent_id", "project_id", "category", "key"),
        # The constraint above lets NULLs differ; this holds the memories without a project apart.
        partial_index(
            "uq_agent_memory_without_project",
            "agent_id",
            "category",
            "key",
            where="project_id IS NULL",
            unique=True,
        ),
        CheckConstraint("importance BETWEEN 1 AND 10", name="importance_range"),
        Index("idx_agent_memory_agent", "agent_id"),
        Index("idx_agent_memory_project", "project_id"),
        Index("idx_agent_memory_expires", "expires_at"),
        Index("idx_agent_memory_importance", "agent_id", "importance", "updated_at"),
    )

    id: Mapped[AgentMemoryId] = uuid_key()
    agent_id: Mapped[AgentId] = foreign_key("agents.id", on_delete="CASCADE")
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id")
    category: Mapped[str] = varchar(50)
    key: Mapped[str] = varchar(200)
    value: Mapped[Any] = mapped_column(Json(), nullable=False)
    importance: Mapped[int] = integer(5)
    expires_at: Mapped[datetime | None] = stamp()
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()


MEMORY_WORDS = WordIndex(
    "agent_memory", scopes=("agent_id",), head=("category", "key"), body="value", is_json=True
)
keep_words(MEMORY_WORDS)

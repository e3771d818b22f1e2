"""Tables of the projects slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Numeric, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    big_integer,
    choice,
    document,
    flag,
    foreign_key,
    gin_index,
    integer,
    stamp,
    stamp_now,
    string_list,
    uuid_key,
    varchar,
)
from agentvine.db.types import Json
from agentvine.domains.identity.enums import UserId
from agentvine.domains.projects.enums import (
    ContextStatus,
    MemberRole,
    ProjectContextId,
    ProjectId,
    RepositoryId,
)


class Project(Base):
    """What people own."""

    __tablename__ = "projects"
    __table_args__ = (
        Index("idx_projects_owner", "owner_id"),
        Index("idx_projects_github", "github_repo"),
    )

    id: Mapped[ProjectId] = uuid_key()
    name: Mapped[str] = varchar(100)
    description: Mapped[str | None] = mapped_column(Text())
    github_repo: Mapped[str | None] = varchar(255)
    github_app_id: Mapped[str | None] = varchar(100)
    github_installation_id: Mapped[str | None] = varchar(100)
    local_path: Mapped[str | None] = varchar(500)
    is_active: Mapped[bool] = flag(default=True)
    owner_id: Mapped[UserId] = foreign_key("users.id", on_delete="CASCADE")
    settings: Mapped[dict[str, Any]] = document(dict, nullable=True)
    next_task_number: Mapped[int] = integer(1, nullable=False)
    row_version: Mapped[int] = integer(1, nullable=False)
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    deleted_at: Mapped[datetime | None] = stamp()

    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012  # read once by the mapper


class ProjectMember(Base):
    """A person who may see a project, and change it unless a viewer."""

    __tablename__ = "project_members"
    __table_args__ = (Index("idx_project_members_user", "user_id"),)

    project_id: Mapped[ProjectId] = foreign_key(
        "projects.id", on_delete="CASCADE", primary_key=True
    )
    user_id: Mapped[UserId] = foreign_key("users.id", on_delete="CASCADE", primary_key=True)
    role: Mapped[MemberRole] = choice(MemberRole, 20, default=MemberRole.DEVELOPER)
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class Repository(Base):
    """One git repository: a path here, perhaps a URL elsewhere."""

    __tablename__ = "repositories"
    __table_args__ = (
        Index("idx_repositories_path", "path"),
        Index("idx_repositories_project", "project_id"),
    )

    id: Mapped[RepositoryId] = uuid_key()
    name: Mapped[str] = varchar(255)
    path: Mapped[str] = mapped_column(Text(), unique=True)
    git_url: Mapped[str | None] = mapped_column(Text())
    default_branch: Mapped[str] = mapped_column(
        String(100), nullable=True, default="main", server_default=text("'main'")
    )
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id", on_delete="SET NULL")
    test_command: Mapped[str | None] = mapped_column(Text())
    sandbox: Mapped[dict[str, Any] | None] = mapped_column(Json())
    """In what its tasks run; NULL for none."""
    limits: Mapped[dict[str, Any]] = document(dict)
    """What each of its runs may use."""
    workspace: Mapped[dict[str, Any]] = document(dict)
    """What each of its runs finds in its work tree."""
    overlap_waits: Mapped[bool] = flag(default=True, nullable=False)
    """Whether a task waits while another one is at work on files that it touches."""
    trial_merges: Mapped[bool] = flag(default=True, nullable=False)
    """Whether merges of its live changes are tried beforehand."""
    row_version: Mapped[int] = integer(1, nullable=False)
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()

    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012  # read once by the mapper


class ProjectContext(Base):
    """The state of what is built, kept across its iterations."""

    __tablename__ = "project_contexts"
    __table_args__ = (
        Index("idx_project_contexts_owner_id", "owner_id"),
        Index("idx_project_contexts_status", "status"),
        Index("idx_project_contexts_type", "type"),
        Index("idx_project_contexts_created_at", "created_at"),
        Index("idx_project_contexts_updated_at", "updated_at"),
        Index("idx_project_contexts_owner_status", "owner_id", "status"),
        Index("idx_project_contexts_project", "project_id"),
        Index("idx_project_contexts_repository", "repository_id"),
        gin_index("idx_project_contexts_codebase", "codebase"),
        gin_index("idx_project_contexts_environment_vars", "environment_vars"),
    )

    id: Mapped[ProjectContextId] = uuid_key()
    name: Mapped[str] = varchar(255)
    type: Mapped[str] = varchar(50, default="other")
    status: Mapped[ContextStatus] = choice(ContextStatus, 20, default=ContextStatus.ACTIVE)
    owner_id: Mapped[str] = varchar(255)
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id", on_delete="SET NULL")
    repository_id: Mapped[RepositoryId | None] = foreign_key(
        "repositories.id", on_delete="SET NULL"
    )
    codebase: Mapped[dict[str, Any]] = document(dict)
    """By path, each file's hash, size and kind: never its content."""
    dependencies: Mapped[list[str]] = string_list(nullable=False)
    environment_vars: Mapped[dict[str, Any]] = document(dict)
    """By name, the sealed value and its keyed fingerprint."""
    deployment_config: Mapped[dict[str, Any]] = document(dict)
    test_coverage: Mapped[float | None] = mapped_column(Numeric(5, 2, asdecimal=False))
    security_score: Mapped[float | None] = mapped_column(Numeric(5, 2, asdecimal=False))
    performance_score: Mapped[float | None] = mapped_column(Numeric(5, 2, asdecimal=False))
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    last_deployed_at: Mapped[datetime | None] = stamp()
    branch: Mapped[str | None] = varchar(200)
    commit_id: Mapped[str | None] = varchar(64)
    """What it is a snapshot of; NULL until the first one of its repository is taken."""
    file_count: Mapped[int] = integer(0, nullable=False)
    total_bytes: Mapped[int] = big_integer(0)
    notes: Mapped[list[str]] = string_list(nullable=False)
    """In sentences what a snapshot left out."""
    taken_at: Mapped[datetime | None] = stamp()

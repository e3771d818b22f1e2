"""Tables of the modifications slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Index, Integer, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
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
from agentvine.domains.executions.enums import ExecutionId
from agentvine.domains.identity.enums import UserId
from agentvine.domains.modifications.enums import (
    CodeSnippetId,
    ModificationId,
    ModificationStatus,
    SnippetTestId,
    SnippetTestStatus,
    TrialMergeId,
)
from agentvine.domains.projects.enums import ProjectContextId, ProjectId, RepositoryId
from agentvine.domains.tasks.enums import TaskId
from agentvine.protocol.enums import ModificationStage


class Modification(Base):
    """A change: what was asked, what came out, the evidence, and the decision about it."""

    __tablename__ = "modifications"
    __table_args__ = (
        Index("idx_modifications_project_id", "project_id"),
        Index("idx_modifications_requested_by", "requested_by"),
        Index("idx_modifications_status", "status"),
        Index("idx_modifications_requested_at", "requested_at"),
        Index("idx_modifications_project_status", "project_id", "status"),
        gin_index("idx_modifications_impact_analysis", "impact_analysis"),
        gin_index("idx_modifications_test_results", "test_results"),
        Index("idx_modifications_task", "task_id"),
        Index("idx_modifications_execution", "execution_id"),
        Index("idx_modifications_repository", "repository_id"),
        Index("idx_modifications_approved_by", "approved_by_id"),
    )

    id: Mapped[ModificationId] = uuid_key()
    project_id: Mapped[ProjectContextId] = foreign_key("project_contexts.id", on_delete="CASCADE")
    """The project *context* that is changed, as the specification has it."""
    task_id: Mapped[TaskId | None] = foreign_key("tasks.id", on_delete="CASCADE")
    execution_id: Mapped[ExecutionId | None] = foreign_key("executions.id", on_delete="SET NULL")
    repository_id: Mapped[RepositoryId | None] = foreign_key(
        "repositories.id", on_delete="SET NULL"
    )
    request: Mapped[str] = mapped_column(Text())
    requested_by: Mapped[str] = varchar(255)
    requested_at: Mapped[datetime] = stamp_now()
    status: Mapped[ModificationStatus] = choice(
        ModificationStatus, 20, default=ModificationStatus.PENDING
    )
    impact_analysis: Mapped[dict[str, Any]] = document(dict, nullable=True)
    foreseen: Mapped[dict[str, Any] | None] = mapped_column(Json())
    """What was foreseen of it before anything ran; NULL where nobody asked for it in words."""
    wanted: Mapped[dict[str, Any] | None] = mapped_column(Json())
    """The task that a request becomes when it is approved."""
    affected_files: Mapped[list[str]] = string_list()
    """The files that are likely to change, and those that did once there is a change."""
    modified_files: Mapped[dict[str, Any]] = document(dict, nullable=True)
    test_results: Mapped[dict[str, Any]] = document(dict, nullable=True)
    tests_passed: Mapped[bool | None] = mapped_column(Boolean())
    """NULL where no tests were run."""
    base_commit: Mapped[str | None] = varchar(64)
    head_commit: Mapped[str | None] = varchar(64)
    branch_name: Mapped[str | None] = varchar(255)
    target_branch: Mapped[str | None] = varchar(255)
    diff: Mapped[str | None] = mapped_column(Text())
    diff_stat: Mapped[dict[str, Any]] = document(dict)
    rescue_ref: Mapped[str | None] = varchar(255)
    merge_commit: Mapped[str | None] = varchar(64)
    revert_commit: Mapped[str | None] = varchar(64)
    decision_reason: Mapped[str | None] = mapped_column(Text())
    failure_message: Mapped[str | None] = mapped_column(Text())
    conflicting_files: Mapped[list[str]] = string_list()
    """Why it could not be applied, where that is so because others changed them, too."""
    approved_by_id: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    approved_at: Mapped[datetime | None] = stamp()
    apply_requested_at: Mapped[datetime | None] = stamp()
    applied_at: Mapped[datetime | None] = stamp()
    reverted_at: Mapped[datetime | None] = stamp()
    row_version: Mapped[int] = integer(1, nullable=False)
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()

    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012  # read once by the mapper

    @property
    def stage(self) -> ModificationStage:
        """What there is of it."""
        if self.head_commit is not None:
            return ModificationStage.CHANGE
        is_asked = self.wanted is not None and self.task_id is None
        return ModificationStage.REQUEST if is_asked else ModificationStage.WORK


class TrialMerge(Base):
    """What merging two commits would come to, tried before anybody asks for it."""

    __tablename__ = "trial_merges"
    __table_args__ = (
        UniqueConstraint("repository_id", "first_commit", "second_commit", "is_with_target"),
    )

    id: Mapped[TrialMergeId] = uuid_key()
    repository_id: Mapped[RepositoryId] = foreign_key("repositories.id", on_delete="CASCADE")
    first_commit: Mapped[str] = varchar(64)
    """The head of a live change."""
    second_commit: Mapped[str] = varchar(64)
    """The head of another one, or the tip of the branch they go to."""
    is_with_target: Mapped[bool] = flag(default=False, nullable=False)
    is_clean: Mapped[bool] = flag(default=True, nullable=False)
    files: Mapped[list[str]] = string_list(nullable=False)
    """Those in conflict, some of them if they are many."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class CodeSnippet(Base):
    """A piece of code that an agent wrote or revised."""

    __tablename__ = "code_snippets"
    __table_args__ = (
        Index("idx_code_snippets_project", "project_id"),
        Index("idx_code_snippets_execution", "execution_id"),
    )

    id: Mapped[CodeSnippetId] = uuid_key()
    project_id: Mapped[ProjectId] = foreign_key("projects.id")
    execution_id: Mapped[ExecutionId | None] = foreign_key("executions.id", on_delete="SET NULL")
    file_path: Mapped[str] = mapped_column(Text())
    content: Mapped[str] = mapped_column(Text())
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()


class SnippetTest(Base):
    """A test and how it last went, perhaps of one snippet."""

    __tablename__ = "tests"
    __table_args__ = (
        Index("idx_tests_snippet", "snippet_id"),
        Index("idx_tests_status", "status"),
    )

    id: Mapped[SnippetTestId] = uuid_key()
    snippet_id: Mapped[CodeSnippetId | None] = foreign_key("code_snippets.id")
    name: Mapped[str | None] = varchar(255)
    command: Mapped[str | None] = mapped_column(Text())
    status: Mapped[SnippetTestStatus] = choice(
        SnippetTestStatus, 20, default=SnippetTestStatus.PENDING
    )
    output: Mapped[str | None] = mapped_column(Text())
    duration_ms: Mapped[int | None] = mapped_column(Integer())
    last_run: Mapped[datetime | None] = stamp()

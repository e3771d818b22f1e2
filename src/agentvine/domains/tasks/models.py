"""Tables of the tasks slice."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import CheckConstraint, Index, Integer, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    choice,
    document,
    foreign_key,
    integer,
    money,
    partial_index,
    present_index,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.triggers import number_within_parent
from agentvine.domains.agents.enums import AgentId
from agentvine.domains.conversations.enums import ConversationId
from agentvine.domains.github.enums import GithubIssueId, PullRequestId
from agentvine.domains.identity.enums import UserId
from agentvine.domains.plans.enums import PlanId
from agentvine.domains.projects.enums import ProjectId, RepositoryId
from agentvine.domains.tasks.enums import (
    DependencyType,
    PermissionLevel,
    TaskDependencyId,
    TaskFileId,
    TaskFileSource,
    TaskId,
    TaskPriority,
    TaskStatus,
    TaskType,
)
from agentvine.domains.workers.enums import WorkerId


class Task(Base):
    """A unit of work."""

    __tablename__ = "tasks"
    __table_args__ = (
        UniqueConstraint("project_id", "number"),
        Index("idx_tasks_project", "project_id"),
        Index("idx_tasks_agent", "assigned_to_agent_id"),
        Index("idx_tasks_status_priority", "status", "priority"),
        Index("idx_tasks_issue", "issue_id"),
        Index("idx_tasks_status", "status"),
        Index("idx_tasks_type", "task_type"),
        Index("idx_tasks_priority", "priority"),
        Index("idx_tasks_created_by", "created_by"),
        Index("idx_tasks_assigned_to", "assigned_to"),
        Index("idx_tasks_parent", "parent_task_id"),
        present_index("idx_tasks_pr", "pr_id"),
        Index("idx_tasks_repository", "repository_id"),
        present_index("idx_tasks_plan", "plan_id"),
        present_index("idx_tasks_conversation", "conversation_id"),
        # A step of a plan version becomes one task, however often it is accepted.
        partial_index(
            "uq_tasks_plan_step", "plan_id", "plan_step", where="plan_step IS NOT NULL", unique=True
        ),
        # Few at any time: the rest of the history is not in it.
        partial_index(
            "idx_tasks_waiting_for_files",
            "repository_id",
            where="waits_for_files_since IS NOT NULL",
        ),
    )

    id: Mapped[TaskId] = uuid_key()
    number: Mapped[int] = mapped_column(Integer(), nullable=True)
    """The short reference: 142 in ``T-142``. A trigger numbers a row that comes without one."""
    title: Mapped[str] = varchar(300)
    description: Mapped[str | None] = mapped_column(Text())
    task_type: Mapped[TaskType] = choice(TaskType, 20)
    permission_level: Mapped[PermissionLevel] = choice(
        PermissionLevel, 20, default=PermissionLevel.SUPERVISED
    )
    priority: Mapped[TaskPriority] = choice(TaskPriority, 10, default=TaskPriority.NORMAL)
    status: Mapped[TaskStatus] = choice(TaskStatus, 20, default=TaskStatus.PENDING)
    status_reason: Mapped[str | None] = mapped_column(Text())
    """Why it is blocked or failed."""
    definition_of_done: Mapped[str | None] = mapped_column(Text())
    repository_url: Mapped[str | None] = varchar(500)
    branch_name: Mapped[str | None] = varchar(255)
    """The target branch."""
    issue_number: Mapped[int | None] = mapped_column(Integer())
    pr_number: Mapped[int | None] = mapped_column(Integer())
    context: Mapped[dict[str, Any]] = document(dict, nullable=True)
    metadata_: Mapped[dict[str, Any]] = document(dict, nullable=True, name="metadata")
    total_tokens_used: Mapped[int] = integer(0)
    total_cost_usd: Mapped[Decimal] = money(10, 6, "0")
    waits_for_files_since: Mapped[datetime | None] = stamp()
    """Since when it is blocked because others are at work on its files."""
    budget_usd: Mapped[Decimal | None] = money(10, 2)
    """What its calls to language models may cost in all; NULL: as much as other budgets allow."""
    project_id: Mapped[ProjectId] = foreign_key("projects.id", on_delete="CASCADE")
    repository_id: Mapped[RepositoryId | None] = foreign_key(
        "repositories.id", on_delete="SET NULL"
    )
    plan_id: Mapped[PlanId | None] = foreign_key("plans.id", on_delete="SET NULL")
    plan_step: Mapped[str | None] = varchar(64)
    """The key of the step of its plan that it is."""
    conversation_id: Mapped[ConversationId | None] = foreign_key(
        "conversations.id", on_delete="SET NULL"
    )
    issue_id: Mapped[GithubIssueId | None] = foreign_key("github_issues.id", on_delete="SET NULL")
    pr_id: Mapped[PullRequestId | None] = foreign_key("pull_requests.id", on_delete="SET NULL")
    parent_task_id: Mapped[TaskId | None] = foreign_key("tasks.id", on_delete="CASCADE")
    created_by: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    assigned_to: Mapped[WorkerId | None] = foreign_key("workers.id", on_delete="SET NULL")
    assigned_to_agent_id: Mapped[AgentId | None] = foreign_key("agents.id", on_delete="SET NULL")
    row_version: Mapped[int] = integer(1, nullable=False)
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    started_at: Mapped[datetime | None] = stamp()
    completed_at: Mapped[datetime | None] = stamp()
    deleted_at: Mapped[datetime | None] = stamp()

    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012  # read once by the mapper


class TaskDependency(Base):
    """One task's relation to another."""

    __tablename__ = "task_dependencies"
    __table_args__ = (
        UniqueConstraint("task_id", "depends_on_task_id"),
        CheckConstraint("task_id != depends_on_task_id", name="not_itself"),
        Index("idx_task_deps_task", "task_id"),
        Index("idx_task_deps_depends_on", "depends_on_task_id"),
    )

    id: Mapped[TaskDependencyId] = uuid_key()
    task_id: Mapped[TaskId] = foreign_key("tasks.id", on_delete="CASCADE")
    depends_on_task_id: Mapped[TaskId] = foreign_key("tasks.id", on_delete="CASCADE")
    dependency_type: Mapped[DependencyType] = choice(
        DependencyType, 20, default=DependencyType.BLOCKS
    )
    created_at: Mapped[datetime] = stamp_now()


class TaskFile(Base):
    """Files that a task touches: a path, or a pattern of paths."""

    __tablename__ = "task_files"
    __table_args__ = (
        Index("idx_task_files_task", "task_id"),
        Index("idx_task_files_repository", "repository_id"),
        # What a task that is to be queued is compared with.
        partial_index("idx_task_files_live", "repository_id", where="live_since IS NOT NULL"),
    )

    id: Mapped[TaskFileId] = uuid_key()
    task_id: Mapped[TaskId] = foreign_key("tasks.id", on_delete="CASCADE")
    repository_id: Mapped[RepositoryId] = foreign_key("repositories.id", on_delete="CASCADE")
    """The task's own."""
    pattern: Mapped[str] = varchar(1000)
    source: Mapped[TaskFileSource] = choice(TaskFileSource, 20)
    live_since: Mapped[datetime | None] = stamp()
    """Set while the task may hold it, or waits for it; which of them, its status says."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)


number_within_parent(
    "tasks",
    column="number",
    parent="projects",
    reference="project_id",
    counter="next_task_number",
)

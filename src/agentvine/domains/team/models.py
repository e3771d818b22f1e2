"""Tables of the team slice."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    choice,
    document,
    flag,
    foreign_key,
    integer,
    money,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.domains.conversations.enums import ConversationId
from agentvine.domains.executions.enums import ExecutionId
from agentvine.domains.identity.enums import UserId
from agentvine.domains.plans.enums import PlanId
from agentvine.domains.projects.enums import ProjectId, RepositoryId
from agentvine.domains.tasks.enums import PermissionLevel, TaskId
from agentvine.domains.team.enums import (
    TeamRole,
    TeamRunId,
    TeamRunStatus,
    TeamStepId,
    TeamVerdictId,
    VerdictOutcome,
)


class TeamRun(Base):
    """A goal that a team works on."""

    __tablename__ = "team_runs"
    __table_args__ = (
        Index("idx_team_runs_project", "project_id"),
        Index("idx_team_runs_repository", "repository_id"),
        Index("idx_team_runs_status", "status"),
        Index("idx_team_runs_plan", "plan_id"),
        Index("idx_team_runs_conversation", "conversation_id"),
        Index("idx_team_runs_created_by", "created_by"),
    )

    id: Mapped[TeamRunId] = uuid_key()
    project_id: Mapped[ProjectId] = foreign_key("projects.id", on_delete="CASCADE")
    repository_id: Mapped[RepositoryId | None] = foreign_key(
        "repositories.id", on_delete="SET NULL"
    )
    goal: Mapped[str] = mapped_column(Text())
    status: Mapped[TeamRunStatus] = choice(TeamRunStatus, 20, default=TeamRunStatus.PLANNING)
    status_reason: Mapped[str | None] = mapped_column(Text())
    permission_level: Mapped[PermissionLevel] = choice(
        PermissionLevel, 20, default=PermissionLevel.SUPERVISED
    )
    round: Mapped[int] = integer(0, nullable=False)
    """How often the coder was sent back."""
    max_rounds: Mapped[int] = integer(3, nullable=False)
    budget_usd: Mapped[Decimal | None] = money(10, 2)
    target_branch: Mapped[str] = varchar(255)
    branch_name: Mapped[str] = varchar(255)
    """Where its changes meet before they are merged."""
    base_commit: Mapped[str | None] = varchar(64)
    """Where that branch begins; NULL until it is made."""
    test_command: Mapped[str | None] = mapped_column(Text())
    roles: Mapped[dict[str, Any]] = document(dict)
    """By role: the agent, and how its tasks are carried out."""
    is_approved: Mapped[bool] = flag(default=False, nullable=False)
    """Whether a person said yes to the plan."""
    is_overruled: Mapped[bool] = flag(default=False, nullable=False)
    """Whether a person wants it delivered, whatever the last verdict says."""
    busy_until: Mapped[datetime | None] = stamp()
    """Until when somebody asks a model or works with git for it; the past: it died at that."""
    plan_id: Mapped[PlanId | None] = foreign_key("plans.id", on_delete="SET NULL")
    conversation_id: Mapped[ConversationId | None] = foreign_key(
        "conversations.id", on_delete="SET NULL"
    )
    created_by: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    row_version: Mapped[int] = integer(1, nullable=False)
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    completed_at: Mapped[datetime | None] = stamp()

    __mapper_args__ = {"version_id_col": row_version}  # noqa: RUF012  # read once by the mapper


class TeamStep(Base):
    """What one role does in one round: a task, or a question to a model."""

    __tablename__ = "team_steps"
    __table_args__ = (
        # However many look at once, and find that it is to begin.
        UniqueConstraint("team_run_id", "role", "round", "number"),
        Index("idx_team_steps_task", "task_id"),
    )

    id: Mapped[TeamStepId] = uuid_key()
    team_run_id: Mapped[TeamRunId] = foreign_key("team_runs.id", on_delete="CASCADE")
    role: Mapped[TeamRole] = choice(TeamRole, 20)
    round: Mapped[int] = integer(0, nullable=False)
    number: Mapped[int] = integer(1, nullable=False)
    by_model: Mapped[bool] = flag(default=False, nullable=False)
    """Whether the server asks a model; otherwise it is a task."""
    task_id: Mapped[TaskId | None] = foreign_key("tasks.id", on_delete="SET NULL")
    model: Mapped[str | None] = varchar(100)
    tokens_in: Mapped[int] = integer(0, nullable=False)
    tokens_out: Mapped[int] = integer(0, nullable=False)
    cost_usd: Mapped[Decimal] = money(10, 6, "0", nullable=False)
    """Of the server's own questions; what a task used is on the task."""
    problem: Mapped[str | None] = mapped_column(Text())
    """Why its answer was not taken."""
    answered_at: Mapped[datetime | None] = stamp()
    created_at: Mapped[datetime] = stamp_now()


class TeamVerdict(Base):
    """What a tester or a reviewer said of a round."""

    __tablename__ = "team_verdicts"
    __table_args__ = (
        UniqueConstraint("step_id"),
        Index("idx_team_verdicts_run", "team_run_id", "round"),
        Index("idx_team_verdicts_execution", "execution_id"),
    )

    id: Mapped[TeamVerdictId] = uuid_key()
    team_run_id: Mapped[TeamRunId] = foreign_key("team_runs.id", on_delete="CASCADE")
    step_id: Mapped[TeamStepId] = foreign_key("team_steps.id", on_delete="CASCADE")
    role: Mapped[TeamRole] = choice(TeamRole, 20)
    round: Mapped[int] = integer(0, nullable=False)
    outcome: Mapped[VerdictOutcome] = choice(VerdictOutcome, 20)
    summary: Mapped[str] = mapped_column(Text())
    findings: Mapped[list[Any]] = document(list, "[]")
    execution_id: Mapped[ExecutionId | None] = foreign_key("executions.id", on_delete="SET NULL")
    created_at: Mapped[datetime] = stamp_now()

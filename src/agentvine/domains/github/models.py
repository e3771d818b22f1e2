"""Tables of the GitHub slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    choice,
    document,
    flag,
    foreign_key,
    integer,
    stamp,
    stamp_now,
    uuid_key,
    varchar,
)
from agentvine.db.types import Json
from agentvine.domains.agents.enums import AgentId
from agentvine.domains.conversations.enums import ConversationId
from agentvine.domains.github.enums import (
    GithubIssueId,
    IssueState,
    PullRequestId,
    PullRequestState,
    WebhookId,
)
from agentvine.domains.projects.enums import ProjectId


class GithubIssue(Base):
    """An issue as GitHub has it."""

    __tablename__ = "github_issues"
    __table_args__ = (
        UniqueConstraint("project_id", "number"),
        Index("idx_issues_project", "project_id"),
        Index("idx_issues_state", "state"),
        Index("idx_issues_conversation", "conversation_id"),
    )

    id: Mapped[GithubIssueId] = uuid_key()
    github_id: Mapped[int] = mapped_column(BigInteger(), unique=True)
    number: Mapped[int] = mapped_column(Integer())
    title: Mapped[str] = varchar(500)
    body: Mapped[str | None] = mapped_column(Text())
    state: Mapped[IssueState] = choice(IssueState, 20, default=IssueState.OPEN)
    labels: Mapped[list[str]] = document(list, "[]", nullable=True)
    assignee: Mapped[str | None] = varchar(100)
    project_id: Mapped[ProjectId] = foreign_key("projects.id", on_delete="CASCADE")
    conversation_id: Mapped[ConversationId | None] = foreign_key("conversations.id")
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    github_created_at: Mapped[datetime | None] = stamp()
    github_updated_at: Mapped[datetime | None] = stamp()


class PullRequest(Base):
    """A pull request as GitHub has it, and which of ours it stems from."""

    __tablename__ = "pull_requests"
    __table_args__ = (
        UniqueConstraint("project_id", "number"),
        Index("idx_prs_project", "project_id"),
        Index("idx_prs_issue", "issue_id"),
        Index("idx_prs_state", "state"),
        Index("idx_prs_agent", "created_by_agent_id"),
        Index("idx_prs_conversation", "conversation_id"),
    )

    id: Mapped[PullRequestId] = uuid_key()
    github_id: Mapped[int] = mapped_column(BigInteger(), unique=True)
    number: Mapped[int] = mapped_column(Integer())
    title: Mapped[str] = varchar(500)
    body: Mapped[str | None] = mapped_column(Text())
    branch_from: Mapped[str] = varchar(200)
    branch_to: Mapped[str] = varchar(200)
    state: Mapped[PullRequestState] = choice(PullRequestState, 20, default=PullRequestState.OPEN)
    is_draft: Mapped[bool] = flag(default=False)
    review_status: Mapped[str | None] = varchar(20)
    test_status: Mapped[str | None] = varchar(20)
    project_id: Mapped[ProjectId] = foreign_key("projects.id", on_delete="CASCADE")
    issue_id: Mapped[GithubIssueId | None] = foreign_key("github_issues.id")
    conversation_id: Mapped[ConversationId | None] = foreign_key("conversations.id")
    created_by_agent_id: Mapped[AgentId | None] = foreign_key("agents.id")
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    merged_at: Mapped[datetime | None] = stamp()
    github_created_at: Mapped[datetime | None] = stamp()


class Webhook(Base):
    """A delivery that was taken, kept until it has had its effect."""

    __tablename__ = "webhooks"
    __table_args__ = (
        UniqueConstraint("source", "delivery_id"),
        Index("idx_webhooks_project", "project_id"),
        Index("idx_webhooks_processed", "processed"),
        Index("idx_webhooks_created", "created_at"),
        Index("idx_webhooks_next_attempt", "next_attempt_at"),
    )

    id: Mapped[WebhookId] = uuid_key()
    project_id: Mapped[ProjectId] = foreign_key("projects.id", on_delete="CASCADE")
    source: Mapped[str] = varchar(50)
    event_type: Mapped[str] = varchar(100)
    delivery_id: Mapped[str | None] = varchar(100)
    payload: Mapped[Any] = mapped_column(Json(), nullable=False)
    processed: Mapped[bool] = flag(default=False)
    processed_at: Mapped[datetime | None] = stamp()
    error_message: Mapped[str | None] = mapped_column(Text())
    retry_count: Mapped[int] = integer(0)
    max_retries: Mapped[int] = integer(5)
    next_attempt_at: Mapped[datetime | None] = stamp()
    created_at: Mapped[datetime] = stamp_now()

"""Tables of the questions slice."""

from datetime import datetime

from sqlalchemy import Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import choice, foreign_key, stamp_now, uuid_key, varchar
from agentvine.domains.conversations.enums import ChatMessageId
from agentvine.domains.executions.enums import ExecutionId
from agentvine.domains.identity.enums import UserId
from agentvine.domains.projects.enums import ProjectId
from agentvine.domains.questions.enums import AnswerRuleId, RuleEffect
from agentvine.domains.tasks.enums import TaskId


class AnswerRule(Base):
    """What is answered without asking a person, in a project, a task or one run."""

    __tablename__ = "answer_rules"
    __table_args__ = (
        Index("idx_answer_rules_project", "project_id"),
        Index("idx_answer_rules_task", "task_id"),
        Index("idx_answer_rules_execution", "execution_id"),
        Index("idx_answer_rules_created_by", "created_by"),
        Index("idx_answer_rules_question", "question_id"),
    )

    id: Mapped[AnswerRuleId] = uuid_key()
    project_id: Mapped[ProjectId] = foreign_key("projects.id", on_delete="CASCADE")
    task_id: Mapped[TaskId | None] = foreign_key("tasks.id", on_delete="CASCADE")
    """Set where it is about one task, or about one of its runs."""
    execution_id: Mapped[ExecutionId | None] = foreign_key("executions.id", on_delete="CASCADE")
    """Set where it is about one run."""
    effect: Mapped[RuleEffect] = choice(RuleEffect, 10)
    tool: Mapped[str] = varchar(200)
    pattern: Mapped[str | None] = mapped_column(Text())
    input_hash: Mapped[str | None] = varchar(64)
    """One input to the letter, where there is no pattern."""
    reason: Mapped[str] = mapped_column(Text(), default="")
    question_id: Mapped[ChatMessageId | None] = foreign_key(
        "chat_messages.id", on_delete="SET NULL"
    )
    """Whose answer it remembers; without one a person wrote it as a rule."""
    created_by: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    created_at: Mapped[datetime] = stamp_now(nullable=False)

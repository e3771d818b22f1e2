"""Tables of the knowledge slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import (
    choice,
    document,
    foreign_key,
    gin_index,
    integer,
    stamp_now,
    string_list,
    uuid_key,
    varchar,
)
from agentvine.db.fulltext import WordIndex, keep_words
from agentvine.domains.identity.enums import UserId
from agentvine.domains.knowledge.enums import (
    ContextDocumentId,
    DocumentRuleId,
    DocumentType,
    DocumentVersionId,
)
from agentvine.domains.projects.enums import ProjectId, RepositoryId
from agentvine.protocol.enums import TaskType


class ContextDocument(Base):
    """A document that people and agents share; without a project it is for all of them."""

    __tablename__ = "context_documents"
    __table_args__ = (
        Index("idx_context_docs_type", "document_type"),
        Index("idx_context_docs_repo", "repository_url"),
        gin_index("idx_context_docs_tags", "tags"),
        Index("idx_context_docs_created_by", "created_by"),
        Index("idx_context_docs_project", "project_id", "source_path"),
        Index("idx_context_docs_repository", "repository_id"),
    )

    id: Mapped[ContextDocumentId] = uuid_key()
    title: Mapped[str] = varchar(255)
    document_type: Mapped[DocumentType] = choice(DocumentType, 50)
    content: Mapped[str] = mapped_column(Text())
    repository_url: Mapped[str | None] = varchar(500)
    tags: Mapped[list[str]] = string_list(item_length=50)
    metadata_: Mapped[dict[str, Any]] = document(dict, nullable=True, name="metadata")
    created_by: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    created_at: Mapped[datetime] = stamp_now()
    updated_at: Mapped[datetime] = stamp_now()
    version: Mapped[int] = integer(1)
    project_id: Mapped[ProjectId | None] = foreign_key("projects.id", on_delete="CASCADE")
    repository_id: Mapped[RepositoryId | None] = foreign_key(
        "repositories.id", on_delete="SET NULL"
    )
    source_path: Mapped[str | None] = varchar(500)
    """The file that it was imported from."""

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # read once by the mapper


DOCUMENT_WORDS = WordIndex(
    "context_documents", scopes=("project_id",), head=("title",), body="content"
)
keep_words(DOCUMENT_WORDS)


class DocumentVersion(Base):
    """A document as it was made by one change, kept as long as the document is."""

    __tablename__ = "context_document_versions"
    __table_args__ = (UniqueConstraint("document_id", "version"),)

    id: Mapped[DocumentVersionId] = uuid_key()
    document_id: Mapped[ContextDocumentId] = foreign_key(
        "context_documents.id", on_delete="CASCADE"
    )
    version: Mapped[int] = mapped_column(Integer())
    title: Mapped[str] = varchar(255)
    document_type: Mapped[DocumentType] = choice(DocumentType, 50)
    content: Mapped[str] = mapped_column(Text())
    tags: Mapped[list[str]] = string_list(item_length=50, nullable=False)
    changed_by: Mapped[str] = varchar(200)
    """As audit rows write it."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class DocumentRule(Base):
    """Which documents are given to the runs of which of a project's tasks."""

    __tablename__ = "document_rules"
    __table_args__ = (
        Index("idx_document_rules_project", "project_id"),
        Index("idx_document_rules_repository", "repository_id"),
        Index("idx_document_rules_document", "document_id"),
        Index("idx_document_rules_created_by", "created_by"),
    )

    id: Mapped[DocumentRuleId] = uuid_key()
    project_id: Mapped[ProjectId] = foreign_key("projects.id", on_delete="CASCADE")
    repository_id: Mapped[RepositoryId | None] = foreign_key("repositories.id", on_delete="CASCADE")
    task_type: Mapped[TaskType | None] = choice(TaskType, 20)
    document_id: Mapped[ContextDocumentId | None] = foreign_key(
        "context_documents.id", on_delete="CASCADE"
    )
    document_type: Mapped[DocumentType | None] = choice(DocumentType, 50)
    tag: Mapped[str | None] = varchar(50)
    max_tokens: Mapped[int] = integer(4000, nullable=False)
    position: Mapped[int] = integer(100, nullable=False)
    created_by: Mapped[UserId | None] = foreign_key("users.id", on_delete="SET NULL")
    created_at: Mapped[datetime] = stamp_now(nullable=False)

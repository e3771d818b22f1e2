"""Tables of the knowledge slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, Text
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
from agentvine.domains.identity.enums import UserId
from agentvine.domains.knowledge.enums import ContextDocumentId, DocumentType


class ContextDocument(Base):
    """A document that people and agents share."""

    __tablename__ = "context_documents"
    __table_args__ = (
        Index("idx_context_docs_type", "document_type"),
        Index("idx_context_docs_repo", "repository_url"),
        gin_index("idx_context_docs_tags", "tags"),
        Index("idx_context_docs_created_by", "created_by"),
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

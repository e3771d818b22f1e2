"""Tables of the contexts slice; the snapshots themselves are rows of ``project_contexts``."""

from datetime import datetime

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import big_integer, foreign_key, stamp_now
from agentvine.domains.projects.enums import ProjectId, RepositoryId


class ContextBlob(Base):
    """A file's content, once for all the snapshots of a project that have it.

    Of a project, not of all: whoever may write into a repository may forge what is behind a hash,
    and shall neither read nor change what other projects keep.
    """

    __tablename__ = "context_blobs"

    project_id: Mapped[ProjectId] = foreign_key(
        "projects.id", on_delete="CASCADE", primary_key=True
    )
    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Git's hash of the content, so that what is known need not be read again."""
    size: Mapped[int] = big_integer(0)
    content: Mapped[str | None] = mapped_column(Text())
    """NULL for what is no text."""
    created_at: Mapped[datetime] = stamp_now(nullable=False)


class ContextRequest(Base):
    """A repository whose state has changed: a snapshot is to be taken when there is time."""

    __tablename__ = "context_requests"

    repository_id: Mapped[RepositoryId] = foreign_key(
        "repositories.id", on_delete="CASCADE", primary_key=True
    )
    requested_at: Mapped[datetime] = stamp_now(nullable=False)

"""Tables of the sources slice."""

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from agentvine.db.base import Base
from agentvine.db.columns import stamp_now
from agentvine.db.types import Json


class SourceFacts(Base):
    """What a file of some content imports and defines."""

    __tablename__ = "source_facts"
    __table_args__ = (Index("idx_source_facts_created", "created_at"),)

    blob: Mapped[str] = mapped_column(String(64), primary_key=True)
    """Git's hash of the content."""
    kind: Mapped[str] = mapped_column(String(30), primary_key=True)
    """The language that it was read in, and the version of what was read, as ``python.1``."""
    facts: Mapped[list[Any]] = mapped_column(Json(), nullable=False)
    created_at: Mapped[datetime] = stamp_now(nullable=False)

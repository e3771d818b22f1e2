"""The declarative base of every table, and how constraints and indexes are named.

Every constraint has a name, the same on both databases: Alembic's batch mode on SQLite can only
change what it can name. Indexes that the specification names keep that name (``idx_...``), given
explicitly; all others follow the convention.
"""

import uuid
from datetime import datetime
from typing import Any, ClassVar, cast

from sqlalchemy import MetaData, Table
from sqlalchemy.orm import DeclarativeBase

from agentvine.db.types import UtcDateTime, Uuid

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base class of all tables; ``Base.metadata`` is the whole schema once all are loaded."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime(),
        uuid.UUID: Uuid(),
    }


def table_of(model: type[Base]) -> Table:
    """The table of a model, for statements that are about rows and not about objects."""
    return cast("Table", model.__table__)

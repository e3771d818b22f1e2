"""Ids and enumerations of the studio slice."""

from enum import StrEnum
from typing import NewType
from uuid import UUID

SchemaDesignId = NewType("SchemaDesignId", UUID)


class SchemaDialect(StrEnum):
    """The database a design is made for."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"

"""What autogenerate and schema comparisons must not look at."""

from typing import Any

from sqlalchemy import Index
from sqlalchemy.schema import CheckConstraint, SchemaItem

VERSION_TABLE = "alembic_version"
_OF_FTS5 = frozenset({"data", "idx", "content", "docsize", "config"})


class Filters:
    """Alembic's ``include_object``, for one dialect."""

    def __init__(self, dialect_name: str, registered: frozenset[str]) -> None:
        """Take the dialect, and the names of all objects in the registry."""
        self._dialect_name = dialect_name
        self._registered = registered

    def include_object(
        self,
        item: SchemaItem,
        name: str | None,
        kind: str,
        reflected: bool,  # Alembic passes it by position
        compare_to: SchemaItem | None,
    ) -> bool:
        """Whether to compare the object at all."""
        if kind == "table" and reflected:
            if self._is_derived(name):
                return False
            # A partition of one of our tables is made by a chore and is not in the models.
            return name != VERSION_TABLE and (compare_to is not None or not _is_partition(name))
        if name in self._registered:
            return False
        if isinstance(item, Index | CheckConstraint):
            return self._is_for_this_dialect(item)
        return True

    def _is_derived(self, name: str | None) -> bool:
        """A table of the registry, or one of those in which SQLite keeps a full-text index."""
        head, _, tail = (name or "").rpartition("_")
        return name in self._registered or (tail in _OF_FTS5 and head in self._registered)

    def _is_for_this_dialect(self, item: Any) -> bool:
        """Whether ``ddl_if(dialect=...)`` lets the object exist here."""
        condition = getattr(item, "_ddl_if", None)
        return condition is None or condition.dialect in (None, self._dialect_name)


def _is_partition(name: str | None) -> bool:
    """Partitions are named ``<table>_p<year><month>``."""
    head, separator, tail = (name or "").rpartition("_p")
    return bool(head and separator) and tail.isdigit()

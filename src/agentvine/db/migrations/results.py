"""What the migration runner answers."""

from dataclasses import dataclass
from pathlib import Path

from agentvine.db.migrations.state import Compatibility


@dataclass(frozen=True, slots=True)
class Current:
    """Where a database stands."""

    revision: str | None
    head: str | None
    numbers: Compatibility | None
    clashes: tuple[str, ...]
    """Tables of our names in a database without a revision."""

    @property
    def is_at_head(self) -> bool:
        """Whether the schema is the newest this code knows."""
        return self.revision == self.head


@dataclass(frozen=True, slots=True)
class MigrationReport:
    """What a run did."""

    before: str | None
    after: str | None
    steps: tuple[str, ...] = ()
    repaired: tuple[str, ...] = ()
    """Schema objects that were not as the registry says, and are now."""
    safety_copy: Path | None = None
    created: bool = False
    """Whether the database itself was made."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One migration."""

    revision: str
    after: str | None
    message: str
    is_current: bool
    is_head: bool


@dataclass(frozen=True, slots=True)
class Problem:
    """Something ``check`` found, and what to do about it."""

    code: str
    detail: str
    fix: str = ""
    """What to do, where the detail does not say it."""

"""Binds the migrations to the application's models and schema objects."""

from agentvine.config.settings import DatabaseSettings
from agentvine.db.filelock import DatabaseFileLock
from agentvine.db.migrations.runner import MigrationRunner
from agentvine.db.registry import REGISTRY
from agentvine.domains.mapping import metadata

REGISTRY.updated_at_triggers(metadata)


def migration_runner(
    settings: DatabaseSettings, *, held_lock: DatabaseFileLock | None = None
) -> MigrationRunner:
    """The runner for a database of the application.

    Args:
        settings: The database.
        held_lock: The lock a server already holds on its SQLite file.
    """
    return MigrationRunner(settings, metadata=metadata, registry=REGISTRY, held_lock=held_lock)

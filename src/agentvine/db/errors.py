"""What can go wrong with a database, in our own words.

Unavailable
  DatabaseUnreachable     cannot connect, or the connection broke
  DatabaseBusy            waited too long for a lock, a connection or a turn
  DatabaseFull            no space left
  DatabaseReadOnly        it takes no writes
Conflict
  DatabaseInUse           another process holds the SQLite file
  SchemaOutdated          the schema is not what this code needs
  SchemaTooNew            a newer AgentVine has migrated this database
  MigrationFailed         a migration was undone
Invalid
  UnknownRevision         there is no such migration
"""

from agentvine.kit.errors import Conflict, Forbidden, Invalid, Unavailable


class DatabaseUnreachable(Unavailable):
    """The database cannot be reached."""

    code = "database_unreachable"


class DatabaseBusy(Unavailable):
    """The database is busy."""

    code = "database_busy"


class DatabaseFull(Unavailable):
    """The database has no space left."""

    code = "database_full"


class DatabaseReadOnly(Unavailable):
    """The database cannot be written."""

    code = "database_read_only"


class DatabaseInUse(Conflict):
    """Another process is using this database file."""

    code = "database_in_use"


class SchemaOutdated(Conflict):
    """The database schema is not at the revision that this AgentVine needs."""

    code = "schema_outdated"


class SchemaTooNew(Conflict):
    """The database was migrated by a newer AgentVine."""

    code = "schema_too_new"


class DatabaseNotOurs(Conflict):
    """The database has tables of our names, but was not made by our migrations."""

    code = "database_not_ours"


class MigrationFailed(Conflict):
    """A migration failed and was undone."""

    code = "migration_failed"


class UnknownRevision(Invalid):
    """There is no such schema revision."""

    code = "unknown_revision"


class CannotCreateDatabase(Forbidden):
    """The database role may not create databases."""

    code = "cannot_create_database"

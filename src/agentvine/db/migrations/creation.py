"""Makes the database itself where there is none yet, and where we may."""

from sqlalchemy import make_url

from agentvine.config.settings import DatabaseSettings
from agentvine.db import postgres
from agentvine.db.engine import dialect_of, postgres_dsn, sqlite_path
from agentvine.db.errors import CannotCreateDatabase, DatabaseUnreachable
from agentvine.kit.errors import Invalid

_MAINTENANCE_DATABASES = ("postgres", "template1")
_NO_SUCH_DATABASE = "3D000"
_NOT_ALLOWED = "42501"
_ALREADY_THERE = ("42P04", "23505")


async def create_database(settings: DatabaseSettings) -> bool:
    """Make the SQLite file's folder, or the PostgreSQL database; True where one was made.

    Raises:
        CannotCreateDatabase: It does not exist, and the role may not create it.
        DatabaseUnreachable: The server does not answer, or the folder cannot be made.
    """
    if dialect_of(settings).serialises_writers:
        return _prepare_folder(settings)
    return await _create_on_server(settings)


def _prepare_folder(settings: DatabaseSettings) -> bool:
    path = sqlite_path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise DatabaseUnreachable(f"Cannot make {path.parent}: {error.strerror}.") from error
    return not path.exists()


async def _create_on_server(settings: DatabaseSettings) -> bool:
    try:
        connection = await postgres.connect(postgres_dsn(settings))
    except postgres.CONNECT_ERRORS as error:
        if postgres.sqlstate_of(error) != _NO_SUCH_DATABASE:
            raise DatabaseUnreachable(f"PostgreSQL does not answer: {error}.") from error
    else:
        await connection.close()
        return False
    connection = await _connect_to_maintenance(settings)
    try:
        return await _create(connection, _database_name(settings))
    finally:
        await connection.close()


async def _create(connection: postgres.PostgresConnection, name: str) -> bool:
    quoted = '"' + name.replace('"', '""') + '"'
    try:
        await connection.execute(f"CREATE DATABASE {quoted} TEMPLATE template0 ENCODING 'UTF8'")
    except postgres.SERVER_ERROR as error:
        state = postgres.sqlstate_of(error)
        if state in _ALREADY_THERE:
            return False  # another process was quicker
        if state != _NOT_ALLOWED:
            raise DatabaseUnreachable(f"PostgreSQL cannot create {name}: {error}.") from error
        role = await connection.fetchval("SELECT current_user")
        raise CannotCreateDatabase(
            f"The database {name} does not exist, and the role {role} may not create it. Let an "
            f"administrator run: CREATE DATABASE {quoted} OWNER \"{role}\" ENCODING 'UTF8';"
        ) from error
    return True


async def _connect_to_maintenance(settings: DatabaseSettings) -> postgres.PostgresConnection:
    refusal = ""
    for database in _MAINTENANCE_DATABASES:
        try:
            return await postgres.connect(postgres_dsn(settings, database=database))
        except postgres.CONNECT_ERRORS as error:
            refusal = str(error)
    raise CannotCreateDatabase(
        f"The database {_database_name(settings)} does not exist, and the server lets us into "
        f"none of {', '.join(_MAINTENANCE_DATABASES)} to create it ({refusal})."
    )


def _database_name(settings: DatabaseSettings) -> str:
    name = make_url(settings.url).database
    if not name:
        raise Invalid("The PostgreSQL URL names no database: end it with /agentvine.")
    return name

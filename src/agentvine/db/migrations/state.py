"""Which code may use the database: two numbers kept in ``server_state``.

``schema_version`` counts changes of the schema. ``needs_code`` is the oldest schema version whose
code still works with it: an added column leaves it alone, a removed one raises it. Older code
than that refuses the database instead of writing rows the newer code cannot read.
"""

from dataclasses import asdict, dataclass

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, String, column, inspect, select, table

from agentvine.db.types import Json

_KEY = "schema"
_state = table("server_state", column("key", String(100)), column("value", Json()))


@dataclass(frozen=True, slots=True)
class Compatibility:
    """The numbers of a database, or of this code."""

    schema_version: int
    needs_code: int


CODE = Compatibility(schema_version=28, needs_code=1)
"""This code's numbers. Raise the first with every migration, the second when old code breaks."""

_reader = TypeAdapter(Compatibility)


def read_compatibility(connection: Connection) -> Compatibility | None:
    """The database's numbers; None where none are kept."""
    if not inspect(connection).has_table(_state.name):
        return None
    value = connection.scalar(select(_state.c.value).where(_state.c.key == _KEY))
    try:
        return _reader.validate_python(value)
    except ValidationError:
        return None


def write_compatibility(connection: Connection, numbers: Compatibility) -> None:
    """Keep the numbers, at every revision that has a place for them."""
    if inspect(connection).has_table(_state.name):
        connection.execute(_state.delete().where(_state.c.key == _KEY))
        connection.execute(_state.insert().values(key=_KEY, value=asdict(numbers)))

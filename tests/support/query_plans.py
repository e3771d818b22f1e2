"""What a database does for the statements that our code sends to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from agentvine.db.session import Database


@contextmanager
def statements_of(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """What is sent to the database, with its values."""
    seen: list[tuple[str, Any]] = []

    def note(
        connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            seen.append((statement, parameters))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def plan_of(database: Database, statement: str, parameters: Any) -> str:
    """How the database would answer a statement, in its own words."""
    is_lite = database.dialect.serialises_writers
    async with database.read() as read:
        connection = await read.connection()
        explained = f"EXPLAIN {'QUERY PLAN ' if is_lite else ''}{statement}"
        rows = (await connection.exec_driver_sql(explained, tuple(parameters))).all()
    return "\n".join(str(row[-1]) for row in rows)

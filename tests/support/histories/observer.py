"""Lets the database itself tell what happens to orders and log lines: triggers write it down.

What a trigger sees is part of the transaction that does it. So the facts are exactly those that
were committed, and those of one order come in the order of its row's changes, whoever made them.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import text

from agentvine.db.session import Database
from tests.support.histories.history import Fact, History, Kind

ENDED = ("completed", "failed", "expired", "cancelled")
_TABLE = "observed_facts"
_ROW = f"INSERT INTO {_TABLE} ({{columns}}) VALUES ({{values}})"
_CHANGED = ("status", "fence", "lease_expires_at", "execution_id")
_COLUMNS = (
    *("order_id", "task_id", "worker_id", "execution_id", "token", "old_status", "new_status"),
    *("old_fence", "new_fence", "renewed", "begun", "stream", "seq"),
)

_OF_CHANGE = {
    "order_id": "NEW.id",
    "worker_id": "COALESCE(NEW.worker_id, OLD.worker_id)",
    "execution_id": "NEW.execution_id",
    "token": "NEW.claim_token",
    "old_status": "OLD.status",
    "new_status": "NEW.status",
    "old_fence": "OLD.fence",
    "new_fence": "NEW.fence",
    "renewed": "{is_renewed}",
    "begun": "{is_begun}",
}
_OF_BIRTH = {"order_id": "NEW.id", "task_id": "NEW.task_id", "new_status": "NEW.status"}
_OF_LINE = {
    "order_id": "(SELECT e.work_order_id FROM executions AS e WHERE e.id = NEW.execution_id)",
    "old_fence": "(SELECT e.fence FROM executions AS e WHERE e.id = NEW.execution_id)",
    "execution_id": "NEW.execution_id",
    "stream": "NEW.stream",
    "seq": "NEW.seq",
}


def sqlite_triggers(sink: str = _ROW) -> list[str]:
    """Statements that make SQLite tell.

    Args:
        sink: The statement that takes one fact; by default a row of a table of its own.
    """
    is_changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in _CHANGED)
    is_renewed = "OLD.lease_expires_at IS NOT NEW.lease_expires_at"
    is_begun = "OLD.execution_id IS NOT NEW.execution_id"
    now = "((julianday('now') - 2440587.5) * 86400.0)"
    key = "id INTEGER PRIMARY KEY AUTOINCREMENT"
    statements = [f"CREATE TABLE {_TABLE} ({key}, at REAL DEFAULT {now}, {', '.join(_COLUMNS)})"]
    for name, happens, values in (
        ("observe_order", "INSERT ON work_orders", _OF_BIRTH),
        ("observe_change", f"UPDATE ON work_orders WHEN {is_changed}", _OF_CHANGE),
        ("observe_line", "INSERT ON execution_logs", _OF_LINE),
    ):
        body = _statement(sink, values).format(is_renewed=is_renewed, is_begun=is_begun)
        statements.append(f"CREATE TRIGGER {name} AFTER {happens} BEGIN {body}; END")
    return statements


def postgres_triggers() -> list[str]:
    """Statements that make PostgreSQL tell."""
    old, new = (", ".join(f"{row}.{name}" for name in _CHANGED) for row in ("OLD", "NEW"))
    is_renewed = "(OLD.lease_expires_at IS DISTINCT FROM NEW.lease_expires_at)::int"
    is_begun = "(OLD.execution_id IS DISTINCT FROM NEW.execution_id)::int"
    numbers = ("old_fence", "new_fence", "renewed", "begun", "seq")
    columns = ", ".join(f"{name} {'integer' if name in numbers else 'text'}" for name in _COLUMNS)
    statements = [
        f"""CREATE TABLE {_TABLE} (id bigserial PRIMARY KEY,
        at double precision DEFAULT extract(epoch FROM clock_timestamp()), {columns})"""
    ]
    for name, happens, table, values in (
        ("observe_order", "INSERT", "work_orders", _OF_BIRTH),
        ("observe_change", "UPDATE", "work_orders", _OF_CHANGE),
        ("observe_line", "INSERT", "execution_logs", _OF_LINE),
    ):
        body = _statement(_ROW, values).format(is_renewed=is_renewed, is_begun=is_begun)
        when = f"WHEN (({old}) IS DISTINCT FROM ({new}))" if happens == "UPDATE" else ""
        function = f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
        statements.append(f"{function} $$ BEGIN {body}; RETURN NULL; END $$")
        trigger = f"CREATE TRIGGER {name} AFTER {happens} ON {table} FOR EACH ROW {when}"
        statements.append(f"{trigger} EXECUTE FUNCTION {name}()")
    return statements


def _statement(sink: str, values: dict[str, str]) -> str:
    given = [values.get(name, "NULL") for name in _COLUMNS]
    return sink.replace("{columns}", ", ".join(_COLUMNS)).replace("{values}", ", ".join(given))


async def observe(database: Database) -> None:
    """Make a database tell, from now on."""
    is_sqlite = database.dialect.name == "sqlite"
    async with database.transaction() as tx:
        connection = await tx.connection()
        for statement in sqlite_triggers() if is_sqlite else postgres_triggers():
            await connection.exec_driver_sql(statement)


async def observed(database: Database) -> History:
    """What it has told so far."""
    columns = ", ".join(_COLUMNS)
    async with database.read() as read:
        query = text(f"SELECT at, {columns} FROM {_TABLE} ORDER BY id")
        rows = (await read.execute(query)).all()
    return History([fact for row in rows for fact in facts_of(row[0], row[1:])])


def facts_of(at: float, row: Sequence[Any]) -> Iterator[Fact]:
    """What a row of a trigger means: nothing to us, one thing, or a claim with its attempt."""
    seen = dict(zip(_COLUMNS, row, strict=True))
    order, worker = _id(seen["order_id"]), _id(seen["worker_id"])
    kind, fence, more = _meaning(seen)
    if kind is None:
        return
    yield Fact(at=at, kind=kind, order=order, fence=fence or 0, worker=worker, more=more)
    if kind is Kind.GRANTED and seen["begun"] and seen["execution_id"]:
        more = {"execution": _id(seen["execution_id"])}
        yield Fact(
            at=at, kind=Kind.ATTEMPT, order=order, fence=fence or 0, worker=worker, more=more
        )


def _meaning(seen: Mapping[str, Any]) -> tuple[Kind | None, int | None, dict[str, Any]]:
    before, after, fence = seen["old_status"], seen["new_status"], seen["old_fence"]
    kind, more = None, dict[str, Any]()
    if seen["stream"]:
        more = {name: seen[name] for name in ("stream", "seq")}
        more["execution"] = _id(seen["execution_id"])
        kind = Kind.LINE
    elif before is None:
        kind, more = Kind.ENQUEUED, {"task": _id(seen["task_id"])}
    elif before in ENDED:
        kind, more = (Kind.REOPENED if after != before else None), {"status": after}
    elif after in ENDED:
        kind, more = Kind.SETTLED, {"status": after}
    elif before == "claimed" and after != "claimed":
        kind = Kind.GIVEN_BACK
    elif after == "claimed" and (before != "claimed" or seen["new_fence"] != fence):
        kind, fence, more = Kind.GRANTED, seen["new_fence"], {"token": seen["token"]}
    elif seen["renewed"]:
        kind = Kind.RENEWED
    elif after == "claimed" and seen["execution_id"]:
        kind, more = Kind.ATTEMPT, {"execution": _id(seen["execution_id"])}
    if kind in (Kind.SETTLED, Kind.GIVEN_BACK) and seen["new_fence"] != fence:
        more = {**more, "is_taken_back": True}
    return kind, fence, more


def _id(value: Any) -> str:
    return str(uuid.UUID(str(value))) if value else ""

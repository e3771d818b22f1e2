"""What the schema says is also what it does: CHECKs, lengths, defaults, triggers, on raw SQL."""

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Boolean, Column, Connection, Enum, Integer, String, Text, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from agentvine.db.session import Database
from agentvine.db.types import Json, Money, StrList, UtcDateTime
from agentvine.domains.mapping import metadata
from tests.support.facts import read_facts
from tests.support.seed_rows import (
    MOMENT,
    Seeded,
    bare_table,
    make_row,
    must_be_given,
    seed_rows,
)

DOCUMENTS = ("agent-team", "plans", "project-contexts", "schema-design", "work-orders")


async def _run(database: Database, work: Callable[[Connection], Any]) -> Any:
    async with database.transaction() as tx:
        return await (await tx.connection()).run_sync(work)


def _refuses(connection: Connection, statement: Any, **values: Any) -> bool:
    """Whether the database refuses a statement; the transaction goes on as if it never was."""
    savepoint = connection.begin_nested()
    try:
        connection.execute(statement, values)
    except DBAPIError:
        return True
    finally:
        savepoint.rollback()
    return False


def _update(seeded: Seeded, table: str, column: str, new: Any) -> Any:
    """Set a column of one seeded row: to a piece of plain SQL, or to a value of its type."""
    bare = bare_table(metadata.tables[table])
    row = seeded.rows[table][0]
    keys = metadata.tables[table].primary_key.columns.keys()
    matches = [bare.c[key] == row[key] for key in keys]
    return (
        bare.update().where(*matches).values({column: text(new) if isinstance(new, str) else new})
    )


def _columns(*kinds: type) -> list[Column[Any]]:
    """Every column of these types that raw SQL may set; keys are left alone."""
    return [
        column
        for table in metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, kinds)
        and column.computed is None
        and not column.primary_key
        and not column.foreign_keys
        and table.name != "audit_events"
    ]


async def test_every_check_takes_each_value_it_lists_and_no_other(database: Database) -> None:
    facts = [fact for fact in read_facts() if fact.kind == "allows"]

    def try_all(connection: Connection) -> list[str]:
        seeded = seed_rows(connection)
        wrong: list[str] = []
        for fact in facts:
            update = _update(seeded, fact.table, fact.subject, ":new_value")
            if _refuses(connection, update, new_value=fact.value):
                wrong.append(f"{fact} is refused")
            wrong += [
                f"{fact.table}.{fact.subject} takes {other!r}"
                for other in (fact.value.swapcase(), f" {fact.value}", "other", "")
                if not _refuses(connection, update, new_value=other)
            ]
        return wrong

    assert len(facts) > 100
    assert await _run(database, try_all) == []


async def test_every_limited_text_takes_its_length_and_no_more(database: Database) -> None:
    columns = [c for c in _columns(String) if not isinstance(c.type, Enum | Text)]

    def try_all(connection: Connection) -> list[str]:
        seeded = seed_rows(connection)
        wrong: list[str] = []
        for column in columns:
            update = _update(seeded, column.table.name, column.name, ":new_value")
            length = int(column.type.length or 0)  # pyright: ignore[reportAttributeAccessIssue]  # a String
            # The limit counts characters, not bytes.
            if _refuses(connection, update, new_value="ü" * length):
                wrong.append(f"{column} is too short")
            if not _refuses(connection, update, new_value="x" * (length + 1)):
                wrong.append(f"{column} is too long")
        return wrong

    assert len(columns) > 80
    assert await _run(database, try_all) == []


@pytest.mark.parametrize(
    ("kinds", "wrong_value"),
    [
        pytest.param((Integer, Money), "'many'", id="a word for a number"),
        pytest.param((Boolean,), "'maybe'", id="a word for a truth value"),
        pytest.param((Json, StrList), "'{broken'", id="a document that is none"),
    ],
)
async def test_a_value_of_another_type_is_refused_on_both_databases(
    database: Database, kinds: tuple[type, ...], wrong_value: str
) -> None:
    columns = _columns(*kinds)

    def try_all(connection: Connection) -> list[str]:
        seeded = seed_rows(connection)
        return [
            str(column)
            for column in columns
            if not _refuses(
                connection, _update(seeded, column.table.name, column.name, wrong_value)
            )
        ]

    assert len(columns) > 10
    assert await _run(database, try_all) == []


RANGES = [
    ("agent_memory", "importance", [1, 10], [0, 11]),
    (
        "budget_limits",
        "alert_threshold",
        [Decimal("0.01"), Decimal("1.00")],
        [Decimal("0.00"), Decimal("1.01"), Decimal("-0.50")],
    ),
]


@pytest.mark.parametrize(("table", "column", "inside", "outside"), RANGES)
async def test_a_range_holds_at_both_ends(
    database: Database, table: str, column: str, inside: list[Any], outside: list[Any]
) -> None:
    def refused(connection: Connection) -> list[bool]:
        seeded = seed_rows(connection)
        return [
            _refuses(connection, _update(seeded, table, column, value))
            for value in (*inside, *outside)
        ]

    expected = [False] * len(inside) + [True] * len(outside)
    assert await _run(database, refused) == expected


async def test_a_task_does_not_depend_on_itself(database: Database) -> None:
    def refused(connection: Connection) -> bool:
        seeded = seed_rows(connection)
        update = _update(seeded, "task_dependencies", "depends_on_task_id", "task_id")
        return _refuses(connection, update)

    assert await _run(database, refused)


async def test_a_memory_without_a_project_is_unique_too(database: Database) -> None:
    def refused(connection: Connection) -> list[bool]:
        first = make_row(connection, "agent_memory", key="style")
        again = {name: first[name] for name in ("agent_id", "category", "key", "value")}
        bare = bare_table(metadata.tables["agent_memory"])
        project = make_row(connection, "projects")["id"]
        return [
            _refuses(connection, bare.insert().values(again)),
            _refuses(connection, bare.insert().values(again | {"project_id": project})),
            _refuses(connection, bare.insert().values(again | {"key": "other"})),
        ]

    assert await _run(database, refused) == [True, False, False]


async def test_an_insert_written_from_the_documents_alone_works(database: Database) -> None:
    documented = {(fact.table, fact.subject) for fact in read_facts(*DOCUMENTS)}
    tables = sorted({fact.table for fact in read_facts(*DOCUMENTS)})

    def insert(connection: Connection) -> None:
        for table in tables:
            make_row(connection, table)
            make_row(connection, table)

    await _run(database, insert)
    assert len(tables) == 33
    assert [
        str(column)
        for table in tables
        for column in metadata.tables[table].columns
        if must_be_given(column) and (table, column.name) not in documented
    ] == []


async def test_two_log_lines_without_a_number_do_not_collide(database: Database) -> None:
    def insert(connection: Connection) -> list[int]:
        execution = make_row(connection, "executions")["id"]
        lines = [make_row(connection, "execution_logs", execution_id=execution) for _ in range(2)]
        return [line["id"] for line in lines]

    first, second = await _run(database, insert)
    assert first < second


async def test_a_raw_insert_gets_every_default_that_the_application_would_give(
    database: Database,
) -> None:
    def collect(connection: Connection) -> list[str]:
        wrong: list[str] = []
        for table in metadata.sorted_tables:
            made = make_row(connection, table.name)
            key = [column == made[column.name] for column in table.primary_key.columns]
            row = connection.execute(select(table).where(*key)).one()._mapping
            for column in table.columns:
                default: Any = column.default
                if default is None or column.name == "id" or not column.server_default:
                    continue
                wanted = default.arg(None) if default.is_callable else default.arg
                if row[column.name] != wanted or type(row[column.name]) is not type(wanted):
                    wrong.append(f"{column}: {row[column.name]!r}, not {wanted!r}")
        return wrong

    assert await _run(database, collect) == []


async def test_a_raw_insert_gets_a_random_id_of_its_own(database: Database) -> None:
    tables = [
        name
        for name, table in metadata.tables.items()
        if "id" in table.columns and table.c.id.type.python_type is uuid.UUID
    ]

    def insert(connection: Connection) -> list[uuid.UUID]:
        bare = [bare_table(metadata.tables[name]) for name in tables]
        ids: list[uuid.UUID] = []
        for name, table in zip(tables, bare, strict=True):
            row = make_row(connection, name)
            connection.execute(table.delete().where(table.c.id == row.pop("id")))
            made = connection.execute(table.insert().values(row).returning(table.c.id))
            ids.append(made.scalar_one())
        return ids

    ids = await _run(database, insert)

    assert len(set(ids)) == len(tables) > 30
    assert {(value.version, value.variant) for value in ids} == {(4, uuid.RFC_4122)}


async def test_created_and_updated_are_the_databases_own_time(database: Database) -> None:
    columns = [
        column
        for column in _columns(UtcDateTime)
        if column.server_default is not None and column.table.name != "server_state"
    ]

    def now_of(connection: Connection) -> dt.datetime:
        return connection.execute(select(database.dialect.now_sql())).scalar_one()

    # Between the beginning, which is when PostgreSQL's transaction says it is, and the end.
    def collect(connection: Connection) -> list[tuple[dt.datetime, dt.datetime, dt.datetime]]:
        times, begin = [], now_of(connection)
        for column in columns:
            table = column.table
            made = make_row(connection, table.name)
            key = [item == made[item.name] for item in table.primary_key.columns]
            found = connection.execute(select(column).where(*key)).scalar_one()
            times.append((begin, found, now_of(connection)))
        return times

    slack = dt.timedelta(seconds=1)
    for begin, found, end in await _run(database, collect):
        assert found.tzinfo is not None
        assert begin - slack <= found <= end + slack


async def test_raw_sql_moves_updated_at_unless_it_sets_it_itself(database: Database) -> None:
    tables = [table for table in metadata.tables.values() if "updated_at" in table.columns]
    long_ago = MOMENT - dt.timedelta(days=400)

    def change(connection: Connection) -> list[str]:
        seeded = seed_rows(connection)
        wrong: list[str] = []
        for table in tables:
            stamps = select(table.c.updated_at).order_by(table.c.updated_at)
            connection.execute(bare_table(table).update().values(updated_at=long_ago))
            if set(connection.execute(stamps).scalars()) != {long_ago}:
                wrong.append(f"{table.name} does not keep what a statement sets")
            other = next(
                c.name
                for c in table.columns
                if not c.primary_key and c.computed is None and c.name != "updated_at"
            )
            connection.execute(_update(seeded, table.name, other, other))
            *untouched, touched = connection.execute(stamps).scalars()
            if set(untouched) != {long_ago} or touched < MOMENT - dt.timedelta(days=2):
                wrong.append(f"{table.name}: {untouched}, {touched}")
        return wrong

    assert len(tables) > 20
    assert await _run(database, change) == []


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_events SET action = 'other'", "DELETE FROM audit_events"]
)
async def test_an_audit_row_is_neither_changed_nor_deleted(
    database: Database, statement: str
) -> None:
    await _run(database, seed_rows)

    with pytest.raises(IntegrityError, match="append-only"):
        await _run(database, lambda connection: connection.execute(text(statement)))

    counted = "SELECT count(*) FROM audit_events WHERE action LIKE 'action%'"
    assert await _run(database, lambda c: c.execute(text(counted)).scalar()) == 2


async def test_is_admin_follows_the_role_and_cannot_be_written(database: Database) -> None:
    users = metadata.tables["users"]

    def change(connection: Connection) -> tuple[list[bool], bool]:
        admin = make_row(connection, "users", role="admin")["id"]
        other = make_row(connection, "users", role="viewer")["id"]
        query = (
            select(users.c.is_admin)
            .where(users.c.id.in_([admin, other]))
            .order_by(users.c.username)
        )
        mine = {row.id: row.is_admin for row in connection.execute(select(users))}
        before = [mine[admin], mine[other]]
        connection.execute(users.update().where(users.c.id == other).values(role="admin"))
        after = list(connection.execute(query).scalars())
        written = _refuses(connection, text("UPDATE users SET is_admin = true"))
        return [*before, *after], written

    seen, refused = await _run(database, change)

    assert seen == [True, False, True, True]
    assert refused


async def test_a_task_that_comes_without_a_number_takes_the_projects_next(
    database: Database,
) -> None:
    tasks, projects = metadata.tables["tasks"], metadata.tables["projects"]

    def insert(connection: Connection) -> tuple[list[int], int]:
        project = make_row(connection, "projects")["id"]
        other = make_row(connection, "projects")["id"]
        made = [
            make_row(connection, "tasks", project_id=project)["id"],
            make_row(connection, "tasks", project_id=project)["id"],
            make_row(connection, "tasks", project_id=other)["id"],
            make_row(connection, "tasks", project_id=project, number=77)["id"],
        ]
        numbers = {row.id: row.number for row in connection.execute(select(tasks))}
        following = select(projects.c.next_task_number).where(projects.c.id == project)
        return [numbers[task] for task in made], connection.execute(following).scalar_one()

    assert await _run(database, insert) == ([1, 2, 1, 77], 3)


async def test_a_log_gives_no_id_twice(database: Database) -> None:
    def insert(connection: Connection) -> tuple[int, int]:
        last = make_row(connection, "events")["id"]
        connection.execute(text("DELETE FROM events"))
        return last, make_row(connection, "events")["id"]

    last, following = await _run(database, insert)

    assert following > last


async def test_what_is_written_is_what_is_read(database: Database) -> None:
    def write(connection: Connection) -> list[str]:
        seeded = seed_rows(connection)
        wrong = []
        for name, rows in seeded.rows.items():
            table = metadata.tables[name]
            key = next(iter(table.primary_key.columns))
            found = {row[key]: row for row in connection.execute(select(table)).mappings()}
            wrong += [
                f"{name}.{column}: {found[row[key.name]][column]!r}, not {value!r}"
                for row in rows
                for column, value in row.items()
                if found[row[key.name]][column] != value
            ]
        return wrong

    assert await _run(database, write) == []

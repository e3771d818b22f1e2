"""Deleting a row takes along exactly what the stated foreign keys say, on both databases."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from agentvine.db.session import Database
from agentvine.domains.mapping import metadata
from tests.support.facts import read_facts
from tests.support.seed_rows import Seeded, bare_table, make_row, seed_rows

Row = tuple[str, int]
"""A seeded row: its table and its number."""


@dataclass(frozen=True)
class Reference:
    table: str
    column: str
    target: str
    target_column: str
    rule: str


def _references() -> list[Reference]:
    facts = read_facts()
    rules = {(f.table, f.subject): f.value for f in facts if f.kind == "on delete"}
    return sorted(
        (
            Reference(f.table, f.subject, target, column, rules[f.table, f.subject])
            for f in facts
            if f.kind == "references"
            for target, _, column in [f.value.partition(".")]
        ),
        key=str,
    )


async def _run(database: Database, work: Callable[[Connection], Any]) -> Any:
    async with database.transaction() as tx:
        return await (await tx.connection()).run_sync(work)


def _delete(connection: Connection, table: str, **key: Any) -> None:
    bare = bare_table(metadata.tables[table])
    connection.execute(bare.delete().where(*(bare.c[name] == key[name] for name in key)))


async def test_each_foreign_key_does_what_it_states_when_its_target_goes(
    database: Database,
) -> None:
    references = _references()

    def try_all(connection: Connection) -> list[str]:
        return [
            f"{reference}: {found}"
            for reference in references
            if (found := _effect(connection, reference)) != reference.rule
        ]

    assert len(references) > 80
    assert await _run(database, try_all) == []


def _effect(connection: Connection, reference: Reference) -> str:
    """What becomes of a row when only the row it refers to is deleted."""
    target = make_row(connection, reference.target)[reference.target_column]
    made = make_row(connection, reference.table, **{reference.column: target})
    table = metadata.tables[reference.table]
    keys = [column == made[column.name] for column in table.primary_key.columns]
    if not _deletes(connection, reference.target, **{reference.target_column: target}):
        return "no action"
    left = connection.execute(select(table.c[reference.column]).where(*keys)).all()
    if not left:
        return "cascade"
    return "set null" if left[0][0] is None else "nothing"


async def test_a_reference_to_a_row_that_does_not_exist_is_refused(database: Database) -> None:
    def try_all(connection: Connection) -> list[str]:
        taken = []
        for reference in _references():
            stranger = make_row(connection, "users")["id"]
            if reference.target == "users":
                _delete(connection, "users", id=stranger)
            kind = metadata.tables[reference.table].c[reference.column].type
            value = 4711 if kind.python_type is int else stranger
            savepoint = connection.begin_nested()
            try:
                make_row(connection, reference.table, **{reference.column: value})
            except IntegrityError:
                savepoint.rollback()
            else:
                taken.append(str(reference))
        return taken

    assert await _run(database, try_all) == []


ROOTS = [
    "projects",
    "plans",
    "tasks",
    "project_contexts",
    "repositories",
    "users",
    "agents",
    "workers",
    "conversations",
    "work_orders",
    "executions",
    "budget_limits",
]


async def test_deleting_a_row_changes_exactly_what_its_foreign_keys_say(
    database: Database,
) -> None:
    # Committed first: PostgreSQL checks rows of the same transaction more than it must.
    seeded = await _run(database, seed_rows)

    def try_all(connection: Connection) -> list[str]:
        return [root for root in ROOTS if not _goes_as_predicted(connection, seeded, root)]

    assert await _run(database, try_all) == []


def _goes_as_predicted(connection: Connection, seeded: Seeded, root: str) -> bool:
    """Delete a row of the table, compare every row of every table, and undo it."""
    prediction = Prediction(seeded, root)
    savepoint = connection.begin_nested()
    for table, number in prediction.in_the_way:
        row = seeded.rows[table][number]
        keys = metadata.tables[table].primary_key.columns.keys()
        _delete(connection, table, **{key: row[key] for key in keys})
    _delete(connection, root, id=seeded.key(root))
    contents = _contents(connection)
    savepoint.rollback()
    return contents == prediction.contents()


LATE = {
    "projects": "agent_memory: it goes with the agent, which goes with the project",
    "users": "conversations: they go with the project, which goes with its owner",
}
"""Where a row refers to the deleted one without a rule, and would go with it two steps later."""


@pytest.mark.parametrize("root", LATE)
async def test_the_one_known_difference_is_when_a_missing_rule_is_looked_at(
    database: Database, root: str
) -> None:
    def delete_root(connection: Connection) -> bool:
        row = make_row(connection, root)["id"]
        project = (
            row if root == "projects" else make_row(connection, "projects", owner_id=row)["id"]
        )
        if root == "projects":
            agent = make_row(connection, "agents", project_id=project)["id"]
            make_row(connection, "agent_memory", agent_id=agent, project_id=project)
        else:
            make_row(connection, "conversations", project_id=project, created_by_user_id=row)
        return _deletes(connection, root, id=row)

    done = await _run(database, delete_root)

    assert done is (database.dialect.name == "sqlite"), LATE[root]


def _deletes(connection: Connection, table: str, **key: Any) -> bool:
    savepoint = connection.begin_nested()
    try:
        _delete(connection, table, **key)
    except IntegrityError:
        savepoint.rollback()
        return False
    return True


def _contents(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    return {
        table.name: _comparable(
            dict(row) for row in connection.execute(select(table)).mappings().all()
        )
        for table in metadata.tables.values()
        if table.name != "server_state"
    }


def _comparable(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    # A trigger moves updated_at where a rule sets a column to NULL; is_admin is not seeded.
    changing = {"updated_at", "is_admin"}
    return sorted(
        ({key: value for key, value in row.items() if key not in changing} for row in rows),
        key=lambda row: str(sorted((key, str(value)) for key, value in row.items())),
    )


class Prediction:
    """Follows the stated foreign keys by hand, from one deleted row."""

    def __init__(self, seeded: Seeded, root: str) -> None:
        self._rows = {name: [dict(row) for row in rows] for name, rows in seeded.rows.items()}
        self._references = _references()
        self._gone: set[Row] = set()
        self.in_the_way: list[Row] = []
        """The rows that must be deleted first, in this order."""
        self._follow((root, 0))
        self.in_the_way.pop()

    def _follow(self, row: Row) -> None:
        """Delete a row, after those that refer to it, or to what it takes along, without a rule."""
        # PostgreSQL looks at the rows that refer to the deleted one before those that a cascade of
        # a cascade takes along are gone; SQLite looks at the end. Clearing these first suits both.
        while late := self._late(self._closure(row)):
            self._follow(late[0])
        while blockers := self._blocking(self._closure(row)):
            self._follow(blockers[0])
        self._gone |= self._closure(row)
        self.in_the_way.append(row)

    def contents(self) -> dict[str, list[dict[str, Any]]]:
        """What every table holds afterwards."""
        for row in self._left():
            for reference, target in self._targets(row):
                if target in self._gone and reference.rule == "set null":
                    self._rows[row[0]][row[1]][reference.column] = None
        left = set(self._left())
        return {
            name: _comparable(row for number, row in enumerate(rows) if (name, number) in left)
            for name, rows in self._rows.items()
            if name != "server_state"
        }

    def _left(self) -> list[Row]:
        every = [(name, n) for name, rows in self._rows.items() for n in range(len(rows))]
        return [row for row in every if row not in self._gone]

    def _targets(self, row: Row) -> Iterator[tuple[Reference, Row]]:
        table, number = row
        for reference in self._references:
            value = (
                self._rows[table][number][reference.column] if reference.table == table else None
            )
            if value is not None:
                for n, other in enumerate(self._rows[reference.target]):
                    if other[reference.target_column] == value:
                        yield reference, (reference.target, n)

    def _closure(self, start: Row) -> set[Row]:
        gone = {start}
        while True:
            more = {
                (name, number)
                for name, rows in self._rows.items()
                for number in range(len(rows))
                if (name, number) not in gone
                for reference, target in self._targets((name, number))
                if target in gone and reference.rule == "cascade"
            }
            if not more:
                return gone
            gone |= more

    def _late(self, going: set[Row]) -> list[Row]:
        return [
            other
            for row in sorted(going)
            for other in self._blocking({row})
            if not any(
                target == row and reference.rule == "cascade"
                for reference, target in self._targets(other)
            )
        ]

    def _blocking(self, going: set[Row]) -> list[Row]:
        return [
            row
            for row in self._left()
            if row not in going
            and any(
                target in going and reference.rule == "no action"
                for reference, target in self._targets(row)
            )
        ]

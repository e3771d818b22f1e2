"""Holds the live schema of both databases against the facts of the requirements documents."""

import sys
from collections.abc import Callable

import pytest
from sqlalchemy import text

from agentvine.db.session import Database
from tests.support.facts import Catalog, Fact, applicable, failures, parse, read_catalog, read_facts

DOCUMENTS = ("agent-team", "plans", "project-contexts", "schema-design", "work-orders")


async def _catalog(database: Database) -> Catalog:
    async with database.read() as read:
        return await (await read.connection()).run_sync(read_catalog)


async def _change(database: Database, *statements: str) -> None:
    async with database.transaction() as tx:
        for statement in statements:
            await tx.execute(text(statement))


async def test_the_live_schema_agrees_with_every_fact_of_the_documents(
    database: Database,
    capsys: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    catalog = await _catalog(database)
    facts = read_facts(*DOCUMENTS)

    missing = failures(facts, catalog)

    count = len(applicable(facts, catalog))
    record_property("facts", count)
    with capsys.disabled():
        held = f"{count - len(missing)} of {count} facts hold on {database.dialect.name}"
        sys.stdout.write(f"\n{held}\n")
    assert not missing, f"{len(missing)} of {count} facts do not hold:\n" + "\n".join(missing)
    assert count >= 1500


async def test_the_live_schema_agrees_with_every_fact_about_what_we_add(
    database: Database,
) -> None:
    missing = failures(read_facts("ours"), await _catalog(database))

    assert not missing, "\n".join(missing)


async def test_nothing_is_in_the_schema_that_no_fact_states(database: Database) -> None:
    catalog = await _catalog(database)
    facts = read_facts()

    unstated = sorted(_unstated(catalog, facts))

    assert not unstated, "add these to tests/conformance/facts:\n" + "\n".join(unstated)


def _unstated(catalog: Catalog, facts: frozenset[Fact]) -> set[str]:
    stated = {(fact.table, fact.subject) for fact in facts}
    of_kind = {(fact.table, fact.subject, fact.kind) for fact in facts}
    found: set[str] = set()
    for name, table in catalog.tables.items():
        found |= {f"{name}.{part}" for part in {*table.columns, *table.indexes}}
        found -= {f"{name}.{subject}" for owner, subject in stated if owner == name}
        for kind, subjects in (
            ("references", table.foreign_keys),
            ("allows only", table.choices),
            ("unique", {", ".join(columns) for columns in table.uniques}),
        ):
            found |= {
                f"{name}.{subject} {kind}"
                for subject in subjects
                if (name, subject, kind) not in of_kind
            }
    return found


async def test_every_foreign_key_and_every_status_leads_an_index(database: Database) -> None:
    catalog = await _catalog(database)

    bare = [
        f"{name}.{column}"
        for name, table in catalog.tables.items()
        for column in table.columns
        if (column in table.foreign_keys or column == "status")
        and not any(
            leader[0] == column
            for leader in (
                table.primary_key,
                *table.uniques,
                *(tuple(index.columns.split(", ")) for index in table.indexes.values()),
            )
        )
    ]

    assert bare == []


async def test_a_dropped_index_is_noticed(database: Database) -> None:
    await _change(database, "DROP INDEX idx_tasks_status")

    missing = failures(read_facts(), await _catalog(database))

    assert [line for line in missing if "tasks.idx_tasks_status: index " not in line] == []
    assert len(missing) == 5


async def test_an_index_on_other_columns_is_noticed(database: Database) -> None:
    await _change(
        database,
        "DROP INDEX idx_tasks_status_priority",
        "CREATE INDEX idx_tasks_status_priority ON tasks (priority, status)",
    )

    assert failures(read_facts(), await _catalog(database)) == [
        "tasks.idx_tasks_status_priority: index columns status, priority: found 'priority, status'"
    ]


async def test_a_dropped_trigger_is_noticed(database: Database) -> None:
    name = "trg_plans_updated_at"
    drop = {"sqlite": f"DROP TRIGGER {name}", "postgresql": f"DROP TRIGGER {name} ON plans"}
    await _change(database, drop[database.dialect.name])

    assert failures(read_facts(), await _catalog(database)) == [
        "plans.updated_at: kept by a trigger: no trigger"
    ]


async def test_a_missing_table_is_noticed_with_all_it_should_hold(database: Database) -> None:
    await _change(database, "DROP TABLE schema_designs")
    facts = read_facts()

    missing = failures(facts, await _catalog(database))

    assert len(missing) == len([fact for fact in facts if fact.table == "schema_designs"])


NOT_AS_STATED = {
    "a default": ("x INTEGER DEFAULT 4", "x integer, default 5", "default"),
    "no default": ("x INTEGER", "x integer, default 5", "default"),
    "a default too many": ("x INTEGER DEFAULT 5", "x integer", "default"),
    "may be null": ("x INTEGER", "x integer, not null", "not null"),
    "must not be null": ("x INTEGER NOT NULL", "x integer", "nullable"),
    "a type": ("x BIGINT", "x integer", "type"),
    "a length": ("x VARCHAR(20)", "x varchar(50)", "type"),
    "a value too few": (
        "x VARCHAR(9) CONSTRAINT c CHECK (x IN ('a', 'b'))",
        "x varchar(9), in a | b | c",
        "allows c",
    ),
    "a value too many": (
        "x VARCHAR(9) CONSTRAINT c CHECK (x IN ('a', 'b'))",
        "x varchar(9), in a",
        "allows only",
    ),
    "not unique": ("x INTEGER", "x integer, unique", "unique"),
    "a range": (
        "x INTEGER CONSTRAINT c CHECK (x BETWEEN 1 AND 9)",
        "x integer, check between 1 and 10",
        "check",
    ),
    "a delete rule": (
        "x VARCHAR(100) CONSTRAINT f REFERENCES server_state (key) ON DELETE CASCADE",
        "x varchar(100), -> server_state.key set null",
        "on delete",
    ),
    "another table": (
        "x VARCHAR(100) CONSTRAINT f REFERENCES server_state (key)",
        "x varchar(100), -> users.id no action",
        "references",
    ),
}
"""What is wrong: the column as it is, the fact, and what kind of fact must fail."""


async def test_a_column_that_is_not_as_stated_is_noticed(database: Database) -> None:
    cases = dict(enumerate(NOT_AS_STATED.values()))
    await _change(database, *(f"CREATE TABLE wrong_{n} ({cases[n][0]})" for n in cases))
    catalog = await _catalog(database)

    for n, (column, fact, kind) in cases.items():
        missing = failures(frozenset(parse(f"table wrong_{n}\n  {fact}")), catalog)

        assert any(f"wrong_{n}.x: {kind}" in line for line in missing), (column, fact, missing)


def test_a_line_that_cannot_be_read_is_an_error_and_not_a_fact_less() -> None:
    with pytest.raises(ValueError, match="cannot read"):
        list(parse("table t\n  indeks idx (a)"))
    with pytest.raises(ValueError, match="cannot read"):
        list(parse("table t\n  a integer, nut null"))

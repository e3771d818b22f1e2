"""Reads the facts of the schema (``tests/conformance/facts``) and checks them on a catalog."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from tests.support.facts_catalog import Catalog, TableInfo
from tests.support.facts_postgres import read_postgres
from tests.support.facts_sqlite import read_sqlite

FOLDER = Path(__file__).parents[1] / "conformance" / "facts"

_COLUMN = re.compile(r"(?P<name>\w+) (?P<type>[a-z]+(?:\([\d,]+\))?(?:\[\])?)(?:, (?P<words>.+))?$")
_KEY = re.compile(r"(?P<kind>primary key|unique) \((?P<columns>[\w, ]+)\)$")
_INDEX = re.compile(
    r"index (?P<name>\w+)(?P<unique> unique)?(?P<gin> gin)? \((?P<columns>[\w, ]+)\)"
    r"(?: where (?P<where>.+))?$"
)
_REFERENCE = re.compile(r"-> (?P<target>\w+\.\w+) (?P<rule>cascade|set null|no action)$")


@dataclass(frozen=True, order=True)
class Fact:
    """One thing that must be so, about one table."""

    table: str
    subject: str
    kind: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.table}.{self.subject}: {self.kind} {self.value}".rstrip()


def read_facts(*names: str) -> frozenset[Fact]:
    """The facts of the named files, or of all; a fact stated twice counts once."""
    paths = [FOLDER / f"{name}.facts" for name in names] or sorted(FOLDER.glob("*.facts"))
    return frozenset(fact for path in paths for fact in parse(path.read_text("utf-8"), path.name))


def parse(text: str, source: str = "facts") -> Iterator[Fact]:
    """The facts that a file states."""
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        if words.startswith("table "):
            table = words.removeprefix("table ")
            yield Fact(table, "table", "exists")
            continue
        facts = list(_facts_of_line(table, words))
        if not facts:
            raise ValueError(f"{source}:{number}: cannot read {words!r}")
        yield from facts


def _facts_of_line(table: str, words: str) -> Iterator[Fact]:
    if found := _KEY.match(words):
        yield Fact(table, found["columns"], found["kind"])
    elif found := _INDEX.match(words):
        name = found["name"]
        yield Fact(table, name, "index exists")
        yield Fact(table, name, "index columns", found["columns"])
        yield Fact(table, name, "index method", "gin" if found["gin"] else "btree")
        yield Fact(table, name, "index unique", str(bool(found["unique"])))
        yield Fact(table, name, "index where", found["where"] or "")
    elif words.startswith("check "):
        yield Fact(table, "", "check", words.removeprefix("check "))
    elif found := _COLUMN.match(words):
        yield from _facts_of_column(table, found)


def _facts_of_column(table: str, found: re.Match[str]) -> Iterator[Fact]:
    name, kind = found["name"], found["type"]
    words = (found["words"] or "").split(", ") if found["words"] else []
    default = next((w.removeprefix("default ") for w in words if w.startswith("default ")), "")
    required = {"not null", "primary key", "generated"}.intersection(words)
    yield Fact(table, name, "column exists")
    yield Fact(table, name, "type", kind)
    if "generated" not in words:
        yield Fact(table, name, "not null" if required else "nullable")
        yield Fact(table, name, "default", default or ("counted" if "serial" in kind else ""))
    if name == "updated_at":
        yield Fact(table, name, "kept by a trigger")
    for word in words:
        yield from _facts_of_word(table, name, word)


def _facts_of_word(table: str, column: str, word: str) -> Iterator[Fact]:
    if word in {"primary key", "unique", "generated"}:
        yield Fact(table, column, word)
    elif word.startswith("in "):
        values = word.removeprefix("in ").split(" | ")
        yield Fact(table, column, "allows only", " ".join(sorted(values)))
        for value in values:
            yield Fact(table, column, "allows", value)
    elif word.startswith("check "):
        yield Fact(table, column, "check", word.removeprefix("check "))
    elif found := _REFERENCE.match(word):
        yield Fact(table, column, "references", found["target"])
        yield Fact(table, column, "on delete", found["rule"])
    elif word != "not null" and not word.startswith("default "):
        raise ValueError(f"{table}.{column}: cannot read {word!r}")


def read_catalog(connection: Connection) -> Catalog:
    """The schema of the database behind the connection."""
    reader = read_sqlite if connection.dialect.name == "sqlite" else read_postgres
    return reader(connection)


def failures(facts: frozenset[Fact], catalog: Catalog) -> list[str]:
    """Every fact that does not hold, with what is there instead; applicable ones only."""
    found: list[str] = []
    for fact in sorted(applicable(facts, catalog)):
        table = catalog.tables.get(fact.table)
        if table is None:
            found.append(f"{fact}: there is no such table")
            continue
        problem = _CHECKS[fact.kind](table, fact)
        if problem is not None:
            found.append(f"{fact}: {problem}")
    return found


def applicable(facts: frozenset[Fact], catalog: Catalog) -> frozenset[Fact]:
    """Only PostgreSQL has GIN indexes; everything else is for both."""
    if catalog.has_gin:
        return facts
    gin = {(f.table, f.subject) for f in facts if (f.kind, f.value) == ("index method", "gin")}
    return frozenset(fact for fact in facts if (fact.table, fact.subject) not in gin)


def _expect(actual: object, expected: object) -> str | None:
    return None if actual == expected else f"found {actual!r}"


def _type(table: TableInfo, fact: Fact) -> str | None:
    column = table.columns.get(fact.subject)
    if column is None:
        return "no such column"
    # SQLite keeps documents and lists as JSON.
    is_json = column.type == "json" and (fact.value == "jsonb" or fact.value.endswith("[]"))
    return None if is_json else _expect(column.type, fact.value)


def _default(table: TableInfo, fact: Fact) -> str | None:
    column = table.columns.get(fact.subject)
    if column is None:
        return "no such column"
    # The empty list is {} in an array and [] in JSON.
    is_list = column.type == "json" and (column.default, fact.value) == ("[]", "{}")
    return None if is_list else _expect(column.default, fact.value)


def _nullable(wanted: bool) -> Callable[[TableInfo, Fact], str | None]:
    def check(table: TableInfo, fact: Fact) -> str | None:
        column = table.columns.get(fact.subject)
        return "no such column" if column is None else _expect(column.is_nullable, wanted)

    return check


def _index(of: str) -> Callable[[TableInfo, Fact], str | None]:
    def check(table: TableInfo, fact: Fact) -> str | None:
        index = table.indexes.get(fact.subject)
        return "no such index" if index is None else _expect(str(getattr(index, of)), fact.value)

    return check


def _columns_of(fact: Fact) -> tuple[str, ...]:
    return tuple(fact.subject.split(", "))


def _choices(table: TableInfo, fact: Fact) -> frozenset[str]:
    return table.choices.get(fact.subject, frozenset())


def _allows_only(table: TableInfo, fact: Fact) -> str | None:
    return _expect(" ".join(sorted(_choices(table, fact))), fact.value)


def _has_check(table: TableInfo, fact: Fact) -> str | None:
    """Each name and number of the expression stands in one and the same CHECK."""
    wanted = {fact.subject, *re.findall(r"[a-z_]{4,}|\d+", fact.value)} - {"", "between"}
    texts = [set(re.findall(r"[a-z_]{4,}|\d+", text)) for text in table.checks.values()]
    scaled = {f"{word}000000" if word == "1" else word for word in wanted}
    if any(wanted <= text or scaled <= text for text in texts):
        return None
    return f"no such CHECK among {sorted(table.checks)}"


def _reference(table: TableInfo, fact: Fact, part: int) -> str | None:
    found = table.foreign_keys.get(fact.subject, ("none", "none"))
    return _expect(found[part], fact.value)


_CHECKS: dict[str, Callable[[TableInfo, Fact], str | None]] = {
    "exists": lambda table, fact: None,
    "column exists": lambda table, fact: (
        None if fact.subject in table.columns else "no such column"
    ),
    "type": _type,
    "default": _default,
    "nullable": _nullable(wanted=True),
    "not null": _nullable(wanted=False),
    "generated": lambda table, fact: _expect(table.columns[fact.subject].is_generated, True),
    "kept by a trigger": lambda table, fact: (
        None if any(fact.subject in text for text in table.triggers.values()) else "no trigger"
    ),
    "primary key": lambda table, fact: _expect(table.primary_key, _columns_of(fact)),
    "unique": lambda table, fact: (
        None if _columns_of(fact) in table.uniques else f"found {sorted(table.uniques)}"
    ),
    "references": lambda table, fact: _reference(table, fact, 0),
    "on delete": lambda table, fact: _reference(table, fact, 1),
    "allows": lambda table, fact: (
        None if fact.value in _choices(table, fact) else "not in the CHECK"
    ),
    "allows only": _allows_only,
    "check": _has_check,
    "index exists": lambda table, fact: None if fact.subject in table.indexes else "no such index",
    "index columns": _index("columns"),
    "index method": _index("method"),
    "index unique": _index("is_unique"),
    "index where": _index("where"),
}

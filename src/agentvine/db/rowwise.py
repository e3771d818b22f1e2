"""Statements over one row at a time, from the parts that PostgreSQL runs over many at once.

A part takes its rows from a common table expression. SQLite changes one table in a statement, and
starting one costs it next to nothing: there the part is a statement of its own, run for each row,
which stands in front of it: ``WITH claimed (id, fence) AS (VALUES (?1, ?2)) INSERT ...``.
"""

import re
from collections.abc import Mapping, Sequence

from agentvine.db.blocks import Sql, Statement, encode
from agentvine.db.types import SQLITE_NOW, SQLITE_NOW_FORMAT

_PARAMETER = re.compile(r"(?<![:\w]):([a-z]\w*)")
"""How a part writes a value that it is given."""
_DASHED = " || '-' || ".join(
    rf"substr(\1, {start}, {length})"
    for start, length in ((1, 8), (9, 4), (13, 4), (17, 4), (21, 12))
)
_WORDS = (
    (
        r"statement_timestamp\(\) \+ make_interval\(secs => (:\w+)\)",
        rf"strftime('{SQLITE_NOW_FORMAT}', 'now', \1 || ' seconds')",
    ),
    (r"statement_timestamp\(\)", SQLITE_NOW),
    (r"= ANY\((:\w+)\)", r"IN (SELECT value FROM json_each(\1))"),
    (r"\bSELECT FROM\b", "SELECT 1 FROM"),
    (r"\bIS DISTINCT FROM\b", "IS NOT"),
    (r"\bleast\(", "min("),
    (r"\bjsonb_build_object\(", "json_object("),
    (r"\bNULL::uuid\b", "NULL"),
    (r"([\w.]+)::text\b", f"({_DASHED})"),
)
"""What SQLite says otherwise. ``::text`` is written of ids only, which it keeps without dashes."""


def stored(row: Mapping[str, object]) -> dict[str, object]:
    """A row's values as SQLite keeps them: done once for all the statements that are given it."""
    return {name: encode(value) for name, value in row.items()}


class RowStatement:
    """A statement of a block that is given the values of one row, by their names."""

    def __init__(self, name: str, sql: str, source: str = "", columns: Sequence[str] = ()) -> None:
        """Put it together, once.

        Args:
            name: Within its block.
            sql: As PostgreSQL has it.
            source: The common table expression that it takes its row from.
            columns: What that has; the statement is given those that it mentions.
        """
        self.name = name
        self._values: list[str] = []
        sql = _with_row(sql, source, columns)
        for theirs, ours in _WORDS:
            sql = re.sub(theirs, ours, sql)
        self.sql = Sql("", _PARAMETER.sub(lambda found: f"?{self._number(found[1])}", sql))

    def _number(self, value: str) -> int:
        if value not in self._values:
            self._values.append(value)
        return self._values.index(value) + 1

    def ask(self, row: Mapping[str, object]) -> Statement:
        """What it finds with one row's values, which are ``stored``."""
        return Statement(self.name, self._of(row))

    def write(self, rows: Sequence[Mapping[str, object]]) -> Statement:
        """What it writes for each of some rows."""
        return Statement(self.name, rows=[self._of(row) for row in rows])

    def _of(self, row: Mapping[str, object]) -> tuple[object, ...]:
        return tuple([row[value] for value in self._values])


def _with_row(sql: str, source: str, columns: Sequence[str]) -> str:
    joined = re.search(rf"\bFROM {source} (\w+)\s+WHERE\b", sql)
    if sql.lstrip().startswith("UPDATE") and joined:
        # Its values stand in it: joined with a table, it would be run in two passes.
        sql = sql.replace(joined[0], "WHERE")
        return re.sub(rf"\b{joined[1]}\.(\w+)", r":\1", sql)
    used = [column for column in columns if re.search(rf"\b{column}\b", sql)]
    given = ", ".join(f":{column}" for column in used)
    return f"WITH {source} ({', '.join(used)}) AS (VALUES ({given})) {sql}" if used else sql

"""Statements that are put together once and run straight through the driver, by name of parameter.

Each is a transaction of its own; ``db/direct.py`` has the connections.
"""

import re
from collections.abc import Mapping, Sequence

import structlog

from agentvine.db.direct import Direct, Row, StatementRefused

Parts = Mapping[str, str]
"""Common table expressions by name, which change tables; parameters are written ``:name``."""

log = structlog.get_logger(__name__)


class Statement:
    """SQL with named parameters, for a driver that numbers them."""

    def __init__(self, tables: Parts, result: str, types: Mapping[str, str]) -> None:
        """Put it together, once.

        Args:
            tables: The common table expressions, in order.
            result: The SELECT at the end.
            types: The SQL type of every parameter.
        """
        body = ",\n".join(f"{name} AS {_form(sql)} ({sql})" for name, sql in tables.items())
        self._names: list[str] = []
        self.sql = re.sub(
            r"(?<![:\w]):([a-z]\w*)",
            lambda found: f"${self._number(found[1])}::{types[found[1]]}",
            f"WITH {body} {result}",
        )

    def _number(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name) + 1

    async def fetch(self, direct: Direct, values: Mapping[str, object]) -> Sequence[Row]:
        """Run it; ``values`` may hold more than it asks for."""
        return await direct.fetch(self.sql, *self.arguments(values))

    def arguments(self, values: Mapping[str, object]) -> list[object]:
        """The values in the order in which the SQL numbers them."""
        return [values[name] for name in self._names]


def _form(sql: str) -> str:
    # What only reads is worked out once, before anything is changed.
    return "" if sql.lstrip().startswith(("UPDATE", "INSERT")) else "MATERIALIZED"


async def run(
    statement: Statement, direct: Direct, values: Mapping[str, object]
) -> Sequence[Row] | None:
    """The statement's rows; None where the database refuses the values.

    The long way then says what is wrong, and with which of them.
    """
    try:
        return await statement.fetch(direct, values)
    except StatementRefused:
        log.warning("shortcut.refused", exc_info=True)
        return None

"""What differs between SQLite and PostgreSQL is asked of the ``Dialect`` object in ``db/``.

An ``if`` on a dialect's name far from ``db/`` is a branch that only half of the tests run, and
nobody who adds an operation to the dialect object knows that it is there.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile, docstring_node

_NAMES = {"sqlite", "postgres", "postgresql", "aiosqlite", "asyncpg"}
_DRIVERS = ("sqlite3", "aiosqlite", "asyncpg", "sqlalchemy.dialects")


def check(source: SourceFile) -> Iterator[Finding]:
    """Dialects named as strings or asked for their name, and their drivers imported."""
    docstring = docstring_node(source.tree)
    for node in source.nodes(ast.Constant):
        if docstring is not None and node is docstring.value:
            continue
        if isinstance(node.value, str) and _names_a_dialect(node.value):
            yield Finding.at(node, f"{node.value!r}: ask db/dialect.py instead of naming a dialect")
    for node in source.nodes(ast.Attribute):
        inner = node.value
        if node.attr == "name" and isinstance(inner, ast.Attribute) and inner.attr == "dialect":
            yield Finding.at(node, "dialect.name: give db/dialect.py an operation for what differs")
    for statement, module in source.imported_modules():
        if any(f"{module}.".startswith(f"{driver}.") for driver in _DRIVERS):
            yield Finding.at(statement, f"{module}: drivers and dialects stay in db/")


def _names_a_dialect(text: str) -> bool:
    scheme = text.split(":", 1)[0].split("+", 1)[0].lower()
    return scheme in _NAMES and (scheme == text.lower() or text[len(scheme)] in ":+")


RULE = Rule(
    code="AV006",
    title="dialects are named in db/ only",
    scope=Scope(
        include=("src/agentvine/*",),
        exclude=(
            "src/agentvine/db/*",
            "src/agentvine/config/*",  # reads the URL that names one
            "src/agentvine/database.py",  # the raw door to either
            "src/agentvine/domains/studio/*",  # designs schemas for one or the other
        ),
    ),
    words=("sqlite", "postgres", "asyncpg", "dialect", "SQLite", "Postgre"),
    check=check,
    good=(
        Sample("src/agentvine/db/dialect.py", 'if name == "sqlite":\n    pass\n'),
        Sample("src/agentvine/domains/work/store.py", "sql = tx.dialect.now_sql()\n"),
        Sample("src/agentvine/domains/work/models.py", 'Index("i", c, postgresql_using="gin")\n'),
        Sample("src/agentvine/cli/main.py", 'text = "SQLite needs no server"\n'),
        Sample("src/agentvine/cli/main.py", '"""sqlite"""\n'),
    ),
    bad=(
        Sample("src/agentvine/domains/work/store.py", 'if kind == "sqlite":\n    pass\n'),
        Sample("src/agentvine/server/app.py", 'local = url.startswith("sqlite:")\n'),
        Sample("src/agentvine/server/app.py", 'url = "postgresql+asyncpg://host/db"\n'),
        Sample("src/agentvine/domains/work/store.py", "name = bind.dialect.name\n"),
        Sample("src/agentvine/domains/work/store.py", "import sqlite3\n"),
        Sample(
            "src/agentvine/domains/work/store.py",
            "from sqlalchemy.dialects.postgresql import JSONB\n",
        ),
    ),
)

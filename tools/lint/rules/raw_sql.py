"""SQL as text stands in ``db/`` and in the few store files.

Text is not compiled per database, so it works on the one its writer tried; it escapes the column
types (money as a float, times without a zone) and renames; and a variable pasted into it is an
injection.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_BANNED = {"sqlalchemy.text", "sqlalchemy.sql.text", "sqlalchemy.sql.expression.text"}


def check(source: SourceFile) -> Iterator[Finding]:
    """Uses of sqlalchemy.text and of the driver's own SQL."""
    for node, name in source.references():
        if name in _BANNED:
            yield Finding.at(node, "SQL as text: use SQLAlchemy's constructs, or a store.py")
    for call in source.nodes(ast.Call):
        if isinstance(call.func, ast.Attribute) and call.func.attr == "exec_driver_sql":
            yield Finding.at(call, "exec_driver_sql: use SQLAlchemy's constructs, or a store.py")


RULE = Rule(
    code="AV012",
    title="SQL as text stands in db/ and store files only",
    scope=Scope(
        include=("src/agentvine/*",),
        exclude=(
            "src/agentvine/db/*",
            "src/agentvine/database.py",
            "*/store.py",
            "*_store.py",
            "*/search.py",
            # Server defaults and CHECKs of the tables are SQL by nature.
            "*/models.py",
            "*/models/*",
        ),
    ),
    words=("text", "exec_driver_sql"),
    check=check,
    good=(
        Sample(
            "src/agentvine/db/dialect.py", 'from sqlalchemy import text\nx = text("SELECT 1")\n'
        ),
        Sample(
            "src/agentvine/domains/work/store.py",
            'from sqlalchemy import text\nx = text("SELECT 1")\n',
        ),
        Sample("src/agentvine/cli/main.py", "text = render()\nprint(text)\n"),
    ),
    bad=(
        Sample(
            "src/agentvine/domains/tasks/queries.py",
            'from sqlalchemy import text\nx = text("SELECT 1")\n',
        ),
        Sample(
            "src/agentvine/server/ready.py", 'import sqlalchemy as sa\nx = sa.text("SELECT 1")\n'
        ),
        Sample("src/agentvine/server/ready.py", 'connection.exec_driver_sql("SELECT 1")\n'),
    ),
)

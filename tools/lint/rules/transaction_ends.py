"""A transaction is ended where it was begun, in ``db/session.py``, and nowhere else.

A ``commit()`` in the middle of a command splits it in two: what comes after can fail while what
came before stays, events reach their reactions too early or twice, and row locks are dropped while
the caller still relies on them. Open one with ``Database.transaction()`` at the edge; raise to
undo.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile


def check(source: SourceFile) -> Iterator[Finding]:
    """Calls of a method named commit or rollback."""
    for node in source.nodes(ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr in {"commit", "rollback"}:
            yield Finding.at(
                node, f"{node.func.attr}() outside db/: the edge's transaction does it"
            )


RULE = Rule(
    code="AV001",
    title="commit() and rollback() stand in db/ only",
    scope=Scope(
        include=("src/agentvine/*",),
        # The worker's side cannot import the database; its commits are git's.
        exclude=(
            "src/agentvine/db/*",
            "src/agentvine/database.py",
            "src/agentvine/git/*",
            "src/agentvine/worker/*",
            "src/agentvine/cli/*",
            "src/agentvine/client/*",
            "src/agentvine/runtimes/*",
        ),
    ),
    words=("commit(", "rollback("),
    check=check,
    good=(
        Sample(
            "src/agentvine/db/session.py", "async def end(session):\n    await session.commit()\n"
        ),
        Sample("src/agentvine/domains/tasks/service.py", "tx.after_commit(wake)\n"),
    ),
    bad=(
        Sample("src/agentvine/domains/tasks/service.py", "await tx.commit()\n"),
        Sample("src/agentvine/server/auth.py", "session.rollback()\n"),
    ),
)

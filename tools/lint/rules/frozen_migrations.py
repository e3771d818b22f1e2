"""A migration says what the schema was to become on its day, not what the code says today.

One that imports models or enums changes its meaning with them: a fresh database gets a history
that no existing database went through. Values and types are written out; only ``agentvine.db`` may
be imported, for the operations themselves.
"""

from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile


def check(source: SourceFile) -> Iterator[Finding]:
    """Imports of the application outside db."""
    for statement, module in source.imported_modules():
        if module.startswith("agentvine.") and not module.startswith("agentvine.db"):
            yield Finding.at(statement, f"{module} in a migration: write the values out")


RULE = Rule(
    code="AV022",
    title="migrations import nothing of the application but db",
    scope=Scope(include=("src/agentvine/db/migrations/versions/*",)),
    words=("agentvine",),
    check=check,
    good=(
        Sample(
            "src/agentvine/db/migrations/versions/2026/a.py",
            "from agentvine.db.types import Json\n",
        ),
    ),
    bad=(
        Sample(
            "src/agentvine/db/migrations/versions/2026/a.py",
            "from agentvine.domains.tasks.enums import TaskStatus\n",
        ),
    ),
)

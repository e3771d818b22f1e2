"""Packages and slices say what they own; what others call says what it does.

A reader opens a file knowing nothing: its first line must say what belongs there, or the next
thing lands in the wrong place. The functions of kit, db, protocol and client are called from
everywhere by people who did not write them.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile, docstring_node

_OWNS = Scope(include=("src/agentvine/domains/*", "src/agentvine/*__init__.py", "tools/*"))
_CALLED = Scope(
    include=tuple(f"src/agentvine/{name}/*" for name in ("kit", "db", "protocol", "client")),
)


def check(source: SourceFile) -> Iterator[Finding]:
    """Modules and public functions without a docstring, where readers rely on one."""
    if _OWNS.covers(source.path) and docstring_node(source.tree) is None:
        yield Finding(1, "no docstring: say in a sentence what this file owns")
    if not _CALLED.covers(source.path):
        return
    for node in source.tree.body:
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and not node.name.startswith("_")
            and docstring_node(node) is None
        ):
            yield Finding(node.lineno, f"{node.name} is public and has no docstring")


RULE = Rule(
    code="AV015",
    title="slices, packages and shared functions have docstrings",
    scope=Scope(
        include=("src/agentvine/*.py", "tools/*.py"),
        exclude=("src/agentvine/db/migrations/*",),
    ),
    check=check,
    good=(
        Sample("src/agentvine/domains/tasks/service.py", '"""Changes tasks."""\ndef f(): ...\n'),
        Sample("src/agentvine/kit/ids.py", 'def f():\n    """Make an id."""\n\ndef _g(): ...\n'),
        Sample("src/agentvine/worker/run.py", "def f(): ...\n"),
    ),
    bad=(
        Sample("src/agentvine/domains/tasks/service.py", "def f(): ...\n"),
        Sample("src/agentvine/git/__init__.py", ""),
        Sample("src/agentvine/kit/ids.py", "async def f(): ...\n"),
    ),
)

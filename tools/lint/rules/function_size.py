"""A function fits on a screen: 60 lines, its docstring not counted.

A longer one hides a pure function that could be tested alone, or a second command.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import Function, SourceFile, docstring_node

MAX_LINES = 60


def check(source: SourceFile) -> Iterator[Finding]:
    """Functions above the limit, with what is nested in them."""
    for node in source.nodes(ast.FunctionDef, ast.AsyncFunctionDef):
        lines = _lines(node)
        if lines > MAX_LINES:
            message = f"{node.name} has {lines} lines, {MAX_LINES} at most: take a part out of it"
            yield Finding(node.lineno, message)


def _lines(node: Function) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    docstring = docstring_node(node)
    if docstring is not None:
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


RULE = Rule(
    code="AV014",
    title=f"a function has at most {MAX_LINES} lines",
    scope=Scope(
        include=("src/*.py", "tools/*.py", "tests/*.py", "benchmarks/*.py"),
        exclude=("src/agentvine/db/migrations/versions/*",),
    ),
    check=check,
    good=(
        Sample("src/agentvine/kit/a.py", "def f():\n" + "    x = 1\n" * (MAX_LINES - 1)),
        Sample(
            "src/agentvine/kit/a.py",
            'def f():\n    """A\n\n    long one.\n    """\n' + "    x = 1\n" * (MAX_LINES - 1),
        ),
    ),
    bad=(
        Sample("src/agentvine/kit/a.py", "def f():\n" + "    x = 1\n" * MAX_LINES),
        Sample("tests/test_a.py", "class T:\n    async def f():\n" + "        x = 1\n" * MAX_LINES),
    ),
)

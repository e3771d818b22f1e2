"""A test waits for a signal, not for a while.

A sleep is too long on a quiet machine and too short on a busy one: the suite grows slow and fails
at random. Wait on an event, a hint, a process's end, or poll for the state with a deadline. Where
time itself is the subject, say so in the escape.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_MAX_SECONDS = 0.05
_SLEEPS = {"time.sleep", "asyncio.sleep", "anyio.sleep"}


def check(source: SourceFile) -> Iterator[Finding]:
    """Sleeps of a fixed time above the limit."""
    for node in source.nodes(ast.Call):
        if source.qualified_name(node.func) not in _SLEEPS or not node.args:
            continue
        seconds = node.args[0]
        if isinstance(seconds, ast.Constant) and _number(seconds.value) > _MAX_SECONDS:
            yield Finding.at(node, "sleeps above 50 ms: wait on a signal, or give the reason")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


RULE = Rule(
    code="AV019",
    title="a test does not sleep",
    scope=Scope(include=("tests/*.py",)),
    words=("sleep",),
    check=check,
    good=(
        Sample("tests/test_a.py", "import asyncio\nawait asyncio.sleep(0.01)\n"),
        Sample("tests/test_a.py", "await event.wait()\n"),
    ),
    bad=(
        Sample("tests/test_a.py", "import asyncio\nawait asyncio.sleep(0.2)\n"),
        Sample("tests/test_a.py", "from time import sleep\nsleep(1)\n"),
    ),
)

"""Our own code is never patched in a test.

A patched function tests that the patch was called. It goes on passing when the real one changes.
What lies outside is a loopback server that speaks the real protocol, or a real program; what lies
inside takes its clock, its client and its settings as arguments.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile


def check(source: SourceFile) -> Iterator[Finding]:
    """Imports of a mock library, and attributes set by monkeypatch."""
    for statement, module in source.imported_modules():
        if module.split(".")[0] == "mock" or module.startswith("unittest.mock"):
            yield Finding.at(statement, f"{module}: pass a real one, or a fake of the outside")
    for node in source.nodes(ast.Call):
        called = node.func
        if (
            isinstance(called, ast.Attribute)
            and called.attr in {"setattr", "delattr"}
            and isinstance(called.value, ast.Name)
            and called.value.id in {"monkeypatch", "mocker"}
        ):
            yield Finding.at(node, f"{called.value.id}.{called.attr}: pass what it needs instead")


RULE = Rule(
    code="AV020",
    title="tests do not patch",
    scope=Scope(include=("tests/*.py",)),
    words=("mock", "monkeypatch"),
    check=check,
    good=(
        Sample("tests/test_a.py", 'def test_a(monkeypatch):\n    monkeypatch.setenv("A", "1")\n'),
    ),
    bad=(
        Sample("tests/test_a.py", "from unittest import mock\n"),
        Sample("tests/test_a.py", "from unittest.mock import patch\n"),
        Sample("tests/test_a.py", 'def test_a(monkeypatch):\n    monkeypatch.setattr(a, "b", c)\n'),
    ),
)

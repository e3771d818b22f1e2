"""A test runs, or it is gone.

A skip is green where it should be red: the database did not start, the program was missing, the
bug is known. What cannot run fails and says why; a real limit of a platform is escaped with that
limit named.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_BANNED = {"skip", "skipif", "xfail", "importorskip", "skipUnless", "skipIf", "expectedFailure"}


def check(source: SourceFile) -> Iterator[Finding]:
    """Uses of pytest's and unittest's ways not to run a test."""
    for node in source.nodes(ast.Attribute):
        name = source.qualified_name(node) or ""
        if node.attr in _BANNED and name.split(".", 1)[0] in {"pytest", "unittest"}:
            yield Finding.at(node, f"{name}: let it run, or let it fail")


RULE = Rule(
    code="AV021",
    title="tests are not skipped",
    scope=Scope(include=("tests/*.py",)),
    words=("skip", "xfail", "expectedFailure"),
    check=check,
    good=(Sample("tests/test_a.py", "import pytest\npytest.fail('no server')\n"),),
    bad=(
        Sample("tests/test_a.py", "import pytest\npytest.skip('no server')\n"),
        Sample("tests/test_a.py", "import pytest\n@pytest.mark.skipif(x)\ndef test(): ...\n"),
        Sample("tests/test_a.py", "import pytest\npytestmark = pytest.mark.xfail\n"),
    ),
)

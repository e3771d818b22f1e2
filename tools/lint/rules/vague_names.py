"""A module is named for what it owns.

``utils.py`` owns nothing, so everything lands there, everything imports it, and the layers close
into a circle around it.
"""

from collections.abc import Iterator
from pathlib import PurePosixPath

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_VAGUE = {"common", "helper", "helpers", "misc", "util", "utils", "stuff", "shared", "manager"}


def check(source: SourceFile) -> Iterator[Finding]:
    """Vague names of the file or of a folder above it."""
    for part in PurePosixPath(source.path).parts:
        name = part.removesuffix(".py")
        if name in _VAGUE:
            yield Finding(1, f"{name} says nothing about what it owns: name it for its subject")


RULE = Rule(
    code="AV018",
    title="no module is called utils, helpers, common or the like",
    scope=Scope(include=("src/*.py", "tools/*.py", "tests/*.py")),
    check=check,
    good=(
        Sample("src/agentvine/kit/clock.py", ""),
        Sample("tests/support/builders/tasks.py", ""),
    ),
    bad=(
        Sample("src/agentvine/kit/utils.py", ""),
        Sample("src/agentvine/common/text.py", ""),
        Sample("tests/helpers.py", ""),
    ),
)

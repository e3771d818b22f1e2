"""The environment is read in ``config/``, once, and passed on as settings.

A variable read deep inside is a setting that no document lists, no start-up check validates and no
test can set without touching the whole process.
"""

from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_BANNED = {"os.environ", "os.environb", "os.getenv", "os.getenvb", "os.putenv", "os.unsetenv"}


def check(source: SourceFile) -> Iterator[Finding]:
    """Uses of os.environ and its relatives."""
    for node, name in source.references():
        banned = next((each for each in _BANNED if f"{name}.".startswith(f"{each}.")), None)
        if banned is not None:
            yield Finding.at(node, f"{banned} outside config/: take it from Settings")


RULE = Rule(
    code="AV005",
    title="the environment is read in config/ only",
    scope=Scope(include=("src/agentvine/*",), exclude=("src/agentvine/config/*",)),
    words=("environ", "getenv", "putenv", "unsetenv"),
    check=check,
    good=(
        Sample("src/agentvine/config/settings.py", 'import os\nhome = os.environ["HOME"]\n'),
        Sample("src/agentvine/worker/run.py", "environment = settings.environment\n"),
    ),
    bad=(
        Sample("src/agentvine/worker/run.py", 'import os\npath = os.environ.get("PATH")\n'),
        Sample("src/agentvine/cli/main.py", 'from os import getenv\npath = getenv("PATH")\n'),
        Sample("src/agentvine/git/run.py", "import os\nenv = {**os.environ}\n"),
    ),
)

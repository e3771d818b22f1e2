"""Modules are imported by statements that the layer check can see.

``importlib.import_module("agentvine.server")`` and ``__import__`` cross any layer unseen. They are
for the two places that load lazily on purpose: the CLI's groups and the entry point. (An import
inside a function is refused by ruff's PLC0415.)
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile


def check(source: SourceFile) -> Iterator[Finding]:
    """Imports by a string."""
    for node, name in source.references():
        if name in {"importlib.import_module", "importlib.__import__", "runpy.run_module"}:
            yield Finding.at(node, f"{name}: write an import statement")
    for call in source.nodes(ast.Call):
        if isinstance(call.func, ast.Name) and call.func.id == "__import__":
            yield Finding.at(call, "__import__: write an import statement")


RULE = Rule(
    code="AV010",
    title="no import by name but in the CLI and the entry point",
    scope=Scope(
        include=("src/agentvine/*",),
        exclude=("src/agentvine/cli/*", "src/agentvine/__main__.py"),
    ),
    words=("importlib", "__import__", "runpy"),
    check=check,
    good=(
        Sample(
            "src/agentvine/cli/lazy.py",
            "from importlib import import_module\nmodule = import_module(name)\n",
        ),
        Sample(
            "src/agentvine/server/app.py",
            "from importlib import metadata\nversion = metadata.version(name)\n",
        ),
    ),
    bad=(
        Sample(
            "src/agentvine/kit/load.py",
            'import importlib\nx = importlib.import_module("agentvine.server")\n',
        ),
        Sample("src/agentvine/worker/run.py", 'x = __import__("agentvine.db")\n'),
    ),
)

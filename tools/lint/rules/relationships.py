"""A relationship never loads by itself, and never appears on the other side by itself.

A lazy load is a query nobody wrote: in async code it raises at the worst moment, and in a loop it
is a query per row. ``backref`` adds an attribute to a class in another file, where no reader finds
it, and lets a lower slice reach a higher one.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile, function_name


def check(source: SourceFile) -> Iterator[Finding]:
    """Relationships without lazy="raise", and every backref."""
    for node in source.nodes(ast.Call):
        name = function_name(node.func)
        if name == "backref" or any(keyword.arg == "backref" for keyword in node.keywords):
            yield Finding.at(node, "backref: write a query in the higher slice instead")
        if name == "relationship" and not any(_is_lazy_raise(word) for word in node.keywords):
            yield Finding.at(node, 'relationship without lazy="raise"')


def _is_lazy_raise(keyword: ast.keyword) -> bool:
    return (
        keyword.arg == "lazy"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value == "raise"
    )


RULE = Rule(
    code="AV004",
    title='relationships say lazy="raise"; no backref',
    scope=Scope(include=("src/agentvine/*", "tests/*")),
    words=("relationship", "backref"),
    check=check,
    good=(
        Sample("src/agentvine/domains/work/models.py", 'task = relationship(lazy="raise")\n'),
        Sample("src/agentvine/domains/work/models.py", "relationships = list_relationships()\n"),
    ),
    bad=(
        Sample("src/agentvine/domains/work/models.py", "task = relationship()\n"),
        Sample("src/agentvine/domains/work/models.py", 'task = orm.relationship(lazy="joined")\n'),
        Sample(
            "src/agentvine/domains/work/models.py",
            'task = relationship(lazy="raise", backref="orders")\n',
        ),
    ),
)

"""The facts of a Python file, by its syntax tree."""

import ast
from collections.abc import Iterator

from agentvine.impact.facts import MAX_LISTED, FileFacts, Import, Symbol
from agentvine.impact.public_names import listed_names, parse_python

_INNER = ("body", "orelse", "finalbody", "handlers", "cases")


def python_facts(source: str) -> FileFacts:
    """What a Python file imports, anywhere in it, and what it defines at its top and in classes."""
    tree = parse_python(source)
    if tree is None:
        return FileFacts("python", is_readable=False)
    listed = listed_names(tree)
    symbols = (
        Symbol(name, kind, line, _is_public(name, listed))
        for name, kind, line in _defined(tree.body, "")
    )
    return FileFacts(
        "python",
        tuple(each for _, each in zip(range(MAX_LISTED), _imports(tree), strict=False)),
        tuple(each for _, each in zip(range(MAX_LISTED), symbols, strict=False)),
    )


def _imports(tree: ast.Module) -> Iterator[Import]:
    # Statements only: no expression holds an import, and expressions are most of a tree.
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        match node:
            case ast.Import():
                for alias in node.names:
                    yield Import(alias.name)
            case ast.ImportFrom():
                names = tuple(alias.name for alias in node.names)
                yield Import(node.module or "", node.level, names)
            case _:
                for name in _INNER:
                    inner = getattr(node, name, None)
                    if isinstance(inner, list):
                        waiting += inner


def _defined(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, str, int]]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                kind = "method" if prefix else "function"
                yield f"{prefix}{node.name}", kind, node.lineno
            case ast.ClassDef():
                yield f"{prefix}{node.name}", "class", node.lineno
                yield from _defined(node.body, f"{prefix}{node.name}.")
            case ast.Assign() | ast.AnnAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    if isinstance(target, ast.Name):
                        yield f"{prefix}{target.id}", "variable", node.lineno
            case ast.If() | ast.Try() | ast.With():
                for name in _INNER[:3]:
                    yield from _defined(getattr(node, name, []), prefix)
            case _:
                pass


def _is_public(name: str, listed: set[str] | None) -> bool:
    first, *inner = name.split(".")
    is_listed = not first.startswith("_") if listed is None else first in listed
    return is_listed and not any(part.startswith("_") for part in inner)

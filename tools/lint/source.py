"""One file as the rules see it: text, syntax tree, and names resolved through its imports."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

Function = ast.FunctionDef | ast.AsyncFunctionDef
_Node = TypeVar("_Node", bound=ast.AST)


@dataclass(frozen=True)
class _Index:
    """Every node by its type, and the function each one stands in."""

    by_type: dict[type[ast.AST], list[ast.AST]] = field(
        default_factory=lambda: defaultdict(list[ast.AST])
    )
    function_of: dict[ast.AST, Function] = field(default_factory=dict[ast.AST, Function])


@dataclass(frozen=True)
class SourceFile:
    """A file of the repository; ``path`` is relative to its root, with forward slashes."""

    path: str
    text: str

    @property
    def is_python(self) -> bool:
        """Whether there is a syntax tree."""
        return self.path.endswith(".py")

    @cached_property
    def lines(self) -> list[str]:
        """The text by lines; line 1 is item 0."""
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        """The parsed module, an empty one for other files; raises SyntaxError where it must."""
        return ast.parse(self.text if self.is_python else "", filename=self.path)

    def nodes(self, *types: type[_Node]) -> Iterator[_Node]:
        """Every node of these types, wherever it stands in the file."""
        for node_type in types:
            for node in self._index.by_type.get(node_type, ()):
                assert isinstance(node, node_type)
                yield node

    def enclosing_function(self, node: ast.AST) -> Function | None:
        """The innermost function that the node stands in."""
        return self._index.function_of.get(node)

    def enclosing_functions(self, node: ast.AST) -> Iterator[Function]:
        """The functions that the node stands in, innermost first."""
        current = self.enclosing_function(node)
        while current is not None:
            yield current
            current = self.enclosing_function(current)

    def qualified_name(self, node: ast.AST) -> str | None:
        """The dotted name behind an expression such as ``dt.now``, when its root is imported."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        root = self._imports.get(node.id)
        return None if root is None else ".".join([root, *reversed(parts)])

    def references(self) -> Iterator[tuple[ast.expr, str]]:
        """Every use of an imported name, with what it resolves to; the longest form of each."""
        inner: set[ast.AST] = set()
        for node in self.nodes(ast.Attribute):
            if isinstance(node.value, ast.Attribute | ast.Name):
                inner.add(node.value)
        for node in self.nodes(ast.Attribute, ast.Name):
            if node not in inner and (name := self.qualified_name(node)) is not None:
                yield node, name

    def imported_modules(self) -> Iterator[tuple[ast.stmt, str]]:
        """Every import statement with each module or name it binds, in dotted form."""
        for node in self.nodes(ast.Import):
            for alias in node.names:
                yield node, alias.name
        for node in self.nodes(ast.ImportFrom):
            if node.level == 0 and node.module:
                for alias in node.names:
                    yield node, f"{node.module}.{alias.name}"

    @cached_property
    def _imports(self) -> dict[str, str]:
        names: dict[str, str] = {}
        for node in self.nodes(ast.Import):
            for alias in node.names:
                if alias.asname:
                    names[alias.asname] = alias.name
                else:
                    root = alias.name.split(".", 1)[0]
                    names[root] = root
        for node in self.nodes(ast.ImportFrom):
            if node.level == 0 and node.module:
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        return names

    @cached_property
    def _index(self) -> _Index:
        index = _Index()
        stack: list[tuple[ast.AST, Function | None]] = [(self.tree, None)]
        while stack:
            node, function = stack.pop()
            index.by_type[node.__class__].append(node)
            if function is not None:
                index.function_of[node] = function
            if isinstance(node, Function):
                function = node
            stack.extend((child, function) for child in ast.iter_child_nodes(node))
        return index


def function_name(node: ast.expr) -> str:
    """The last part of what a call names: ``relationship`` for ``orm.relationship``."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def docstring_node(node: ast.Module | ast.ClassDef | Function) -> ast.Expr | None:
    """The statement that holds the docstring."""
    first = node.body[0] if node.body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return first
    return None

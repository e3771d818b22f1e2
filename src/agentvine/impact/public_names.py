"""The public names of a Python module, and how they differ between two versions of it.

A name is public unless it begins with an underscore, or when ``__all__`` lists it. A function
changes when its signature does, not when its body does; a class when its bases do; its public
methods and fields are names of their own (``Class.method``); a constant when its value does.
"""

import ast
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_warnings_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class NameChanges:
    """What users of a module will notice."""

    added: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])
    changed: list[str] = field(default_factory=list[str])


def compare_public_names(before: str | None, after: str | None) -> NameChanges:
    """Compare two versions of a module's text; None stands for a file that is not there.

    A version that cannot be parsed says nothing, and then nothing is compared.
    """
    old = {} if before is None else public_names(before)
    new = {} if after is None else public_names(after)
    if old is None or new is None:
        return NameChanges()
    return NameChanges(
        added=sorted(new.keys() - old.keys()),
        removed=sorted(old.keys() - new.keys()),
        changed=sorted(name for name in old.keys() & new.keys() if old[name] != new[name]),
    )


def public_names(source: str) -> dict[str, str] | None:
    """Each public name with what users rely on, as text; None when it is no valid Python."""
    tree = parse_python(source)
    if tree is None:
        return None
    names = {name: text for name, text in _names(tree.body) if not name.startswith("_")}
    listed = listed_names(tree)
    if listed is None:
        return names
    private = dict(_names(tree.body, with_private=True))
    return {
        name: text
        for name, text in {**private, **{name: private.get(name, "") for name in listed}}.items()
        if name.split(".", 1)[0] in listed and not name.partition(".")[2].startswith("_")
    }


def parse_python(source: str) -> ast.Module | None:
    """The syntax tree, or None when there is none to be had."""
    # An old escape in somebody's code is none of our warnings. The filters are global.
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def listed_names(tree: ast.Module) -> set[str] | None:
    """The names that ``__all__`` lists; None where there is none that can be read."""
    listed: set[str] | None = None
    for node in tree.body:
        value: ast.expr | None = None
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="__all__")])
                | ast.AnnAssign(target=ast.Name(id="__all__"))
            ):
                value = node.value
            case ast.AugAssign(target=ast.Name(id="__all__"), op=ast.Add()):
                value = node.value
            case _:
                continue
        if isinstance(value, ast.List | ast.Tuple | ast.Set):
            names = (item.value for item in value.elts if isinstance(item, ast.Constant))
            listed = listed if listed is not None else set()
            listed.update(name for name in names if isinstance(name, str))
    return listed


def _names(
    body: Sequence[ast.stmt], prefix: str = "", *, with_private: bool = False
) -> Iterator[tuple[str, str]]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                found = [(node.name, _signature(node))]
            case ast.ClassDef():
                found = [(node.name, _heading(node))]
            case ast.Assign() | ast.AnnAssign():
                found = [(name, _value(node)) for name in _targets(node)]
            case ast.If() | ast.Try() | ast.With():
                found = list(_names(_inner(node), prefix="", with_private=True))
            case _:
                continue
        for name, text in found:
            is_dunder = name.startswith("__") and name.endswith("__")
            if with_private or is_dunder or not name.startswith("_"):
                yield f"{prefix}{name}", text
        if isinstance(node, ast.ClassDef):
            yield from _names(node.body, f"{prefix}{node.name}.")


def _inner(node: ast.If | ast.Try | ast.With) -> list[ast.stmt]:
    match node:
        case ast.If():
            return [*node.body, *node.orelse]
        case ast.Try():
            handlers = [statement for handler in node.handlers for statement in handler.body]
            return [*node.body, *handlers, *node.orelse, *node.finalbody]
        case ast.With():
            return node.body


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    flat: list[ast.expr] = []
    for target in targets:
        flat += target.elts if isinstance(target, ast.Tuple | ast.List) else [target]
    return [target.id for target in flat if isinstance(target, ast.Name) and target.id != "__all__"]


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    decorators = " ".join(f"@{ast.unparse(item)}" for item in node.decorator_list)
    returns = ast.unparse(node.returns) if node.returns else ""
    return f"{decorators} {kind} ({ast.unparse(node.args)}) -> {returns}"


def _heading(node: ast.ClassDef) -> str:
    bases = [ast.unparse(base) for base in node.bases]
    keywords = [ast.unparse(keyword.value) for keyword in node.keywords]
    decorators = [ast.unparse(item) for item in node.decorator_list]
    return f"class {bases} {keywords} {decorators}"


def _value(node: ast.Assign | ast.AnnAssign) -> str:
    annotation = ast.unparse(node.annotation) if isinstance(node, ast.AnnAssign) else ""
    return f"{annotation} = {ast.unparse(node.value) if node.value else ''}"

"""Small tools that rewrite Python code: what the demonstration's tasks run.

    python -m agentvine.cli.demo.tools merge-imports SRC     one statement per module, sorted
    python -m agentvine.cli.demo.tools declare-exports SRC   an __all__ for each public module
    python -m agentvine.cli.demo.tools describe-api SRC OUT  a reference of the public names

They need nothing but the standard library, and they change only what they understand: a block of
imports with a comment in it stays as it is.
"""

import argparse
import ast
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_WIDTH = 88
_FUTURE, _STANDARD, _OTHER, _LOCAL = range(4)

Import = ast.Import | ast.ImportFrom


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one tool; says which files it changed."""
    parser = argparse.ArgumentParser(prog="agentvine.cli.demo.tools", description=__doc__)
    tools = parser.add_subparsers(dest="tool", required=True)
    for name in ("merge-imports", "declare-exports"):
        tools.add_parser(name).add_argument("source", type=Path)
    describe = tools.add_parser("describe-api")
    describe.add_argument("source", type=Path)
    describe.add_argument("output", type=Path)
    options = parser.parse_args(arguments)
    if options.tool == "describe-api":
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(describe_api(options.source), encoding="utf-8")
        _say(f"wrote {options.output}")
        return 0
    rewrite = merge_imports if options.tool == "merge-imports" else declare_exports
    return _rewrite_all(options.source, rewrite)


def merge_imports(text: str) -> str:
    """Each block of imports with one statement per module, in order."""
    lines = text.splitlines(keepends=True)
    # From the end, so that the lines before keep their numbers.
    for block in reversed(list(_import_blocks(ast.parse(text)))):
        first, last = block[0].lineno - 1, block[-1].end_lineno or block[-1].lineno
        old = lines[first:last]
        if any("#" in line or ";" in line for line in old):
            continue
        lines[first:last] = [_render(block)]
    return "".join(lines)


def declare_exports(text: str) -> str:
    """The module with an ``__all__`` of its public names, when it has names and no ``__all__``."""
    tree = ast.parse(text)
    names = public_names(tree)
    blocks = list(_import_blocks(tree))
    if not names or not blocks or _assigns(tree, "__all__"):
        return text
    lines = text.splitlines(keepends=True)
    place = blocks[-1][-1].end_lineno or blocks[-1][-1].lineno
    listed = "".join(f'    "{name}",\n' for name in names)
    lines.insert(place, f"\n__all__ = [\n{listed}]\n")
    return "".join(lines)


def describe_api(source: Path) -> str:
    """A Markdown page: each public module with its public names and their first lines."""
    parts = [f"# {source.name}\n\nThe public names of each module, with what they say they do.\n"]
    for path in sorted(source.rglob("*.py")):
        if path.name.startswith("_"):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        rows = [_describe(node) for node in tree.body if _is_public(node)]
        if rows:
            module = ".".join((source.name, *path.relative_to(source).with_suffix("").parts))
            parts.append(f"\n## `{module}`\n\n" + "\n".join(rows) + "\n")
    return "".join(parts)


def public_names(tree: ast.Module) -> list[str]:
    """The classes and functions a module defines for others, sorted."""
    return sorted(
        {
            node.name
            for node in tree.body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and _is_public(node)
        }
    )


def _rewrite_all(source: Path, rewrite: Callable[[str], str]) -> int:
    changed = 0
    for path in sorted(source.rglob("*.py")):
        if rewrite is declare_exports and path.name.startswith("_"):
            continue
        before = path.read_text(encoding="utf-8")
        after = rewrite(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed += 1
            _say(f"rewrote {path}")
    _say(f"{changed} files changed")
    return 0


def _import_blocks(tree: ast.Module) -> Iterator[list[Import]]:
    """The runs of import statements at the top of a module, before anything else is defined."""
    block: list[Import] = []
    for node in tree.body:
        if isinstance(node, Import):
            block.append(node)
        elif not (isinstance(node, ast.Expr) and not block):
            break
    if block:
        yield block


def _render(block: Sequence[Import]) -> str:
    groups: dict[int, list[tuple[str, str]]] = {}
    for module, names in _merged(block).items():
        if names is None:
            name, _, alias = module.partition(" as ")
            text = f"import {name} as {alias}\n" if alias else f"import {name}\n"
            groups.setdefault(_group(name), []).append((f"0{name.lower()}", text))
        else:
            text = _from_statement(module, sorted(names, key=_name_order))
            groups.setdefault(_group(module), []).append((_from_order(module), text))
    return "\n".join("".join(text for _, text in sorted(groups[group])) for group in sorted(groups))


def _merged(block: Sequence[Import]) -> dict[str, set[str] | None]:
    """Per module the names taken from it, or None for the module itself."""
    merged: dict[str, set[str] | None] = {}
    for node in block:
        if isinstance(node, ast.Import):
            for alias in node.names:
                merged[_spelled(alias)] = None
            continue
        module = "." * node.level + (node.module or "")
        names = merged.setdefault(module, set())
        assert names is not None, "a module's spelling with and without from cannot clash"
        names.update(_spelled(alias) for alias in node.names)
    return merged


def _from_statement(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}\n"
    if len(line) <= _WIDTH + 1:
        return line
    listed = "".join(f"    {name},\n" for name in names)
    return f"from {module} import (\n{listed})\n"


def _group(module: str) -> int:
    if module.startswith("."):
        return _LOCAL
    top = module.partition(".")[0]
    if top == "__future__":
        return _FUTURE
    return _STANDARD if top in sys.stdlib_module_names else _OTHER


def _from_order(module: str) -> str:
    # The package itself before its modules.
    return f"1{'' if not module.strip('.') else module.lstrip('.').lower()}"


def _name_order(name: str) -> tuple[str, str]:
    return (name.lower(), name)


def _spelled(alias: ast.alias) -> str:
    return f"{alias.name} as {alias.asname}" if alias.asname else alias.name


def _assigns(tree: ast.Module, name: str) -> bool:
    return any(
        isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
        for node in tree.body
    )


def _is_public(node: ast.stmt) -> bool:
    return isinstance(
        node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    ) and not node.name.startswith("_")


def _describe(node: ast.stmt) -> str:
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    said = (ast.get_docstring(node) or "").strip().partition("\n\n")[0]
    first = " ".join(said.split())
    if isinstance(node, ast.ClassDef):
        head = f"class `{node.name}`"
    else:
        head = f"`{node.name}({', '.join(each.arg for each in node.args.args)})`"
    return f"- {head}: {first}" if first else f"- {head}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())

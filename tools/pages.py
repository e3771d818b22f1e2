"""Pages of docs/reference that are written from the code: what their generators share.

A generator is a module ``tools.gen_*`` with a ``PAGE``. ``python -m tools.gen_docs`` writes all of
them; each can be run alone, and with ``--check`` writes nothing and fails where a page is stale.
"""

import argparse
import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"


@dataclass(frozen=True, slots=True)
class Page:
    """One file, and the function that knows what it shall say."""

    name: str
    tool: str
    """The module that writes it."""
    render: Callable[[], str]

    def is_current(self, folder: Path = FOLDER) -> bool:
        """Whether the file is there and says what the code says."""
        path = folder / self.name
        return path.exists() and path.read_text("utf-8") == self.render()

    def write(self, folder: Path = FOLDER) -> None:
        """Write the file."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / self.name).write_text(self.render(), "utf-8")

    def main(self, arguments: Sequence[str] | None = None, folder: Path = FOLDER) -> int:
        """The generator's command."""
        return write_all([self], arguments, folder, tool=self.tool)


def write_all(
    pages: Iterable[Page],
    arguments: Sequence[str] | None = None,
    folder: Path = FOLDER,
    *,
    tool: str,
) -> int:
    """Write the pages that are not current, or say which they are; the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {tool}")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if out of date")
    options = parser.parse_args(arguments)
    stale = [page for page in pages if not page.is_current(folder)]
    for page in stale:
        if options.check:
            print(f"{page.name} is out of date: run `python -m {page.tool}`", file=sys.stderr)
        else:
            page.write(folder)
    return 1 if options.check and stale else 0


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a Markdown table, and an empty one after it."""
    yield row(head)
    yield row(["---"] * len(head))
    yield from (row([cell(text) for text in texts]) for texts in rows)
    yield ""


def row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "|" + "".join(f" {text} |" if text else " |" for text in cells)


def cell(text: str) -> str:
    """Text that does not end its cell or its line."""
    return " ".join(text.split()).replace("|", r"\|")


def code(text: str) -> str:
    """Text in code style; nothing for no text."""
    return f"`{text}`" if text else ""


def text_of(docstring: str | None) -> str:
    """A docstring for Markdown: without indentation, literals in code style."""
    return inspect.cleandoc(docstring or "").replace("``", "`")


def meanings_of(kind: type) -> dict[str, str]:
    """What the docstring below each field of a class says, by field; all in one line each."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    meanings: dict[str, str] = {}
    for field, after in pairwise(body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            meanings[field.target.id] = " ".join(text_of(str(after.value.value)).split())
    return meanings

"""What commands print: tables and records for people, JSON for machines."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import click
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from agentvine.cli.formats import fmt_age
from agentvine.cli.lazy import load
from agentvine.kit.clock import Clock, SystemClock

T = TypeVar("T")
_IN_SHORT = 70


@dataclass(frozen=True)
class Column(Generic[T]):
    """One column of a table."""

    title: str
    cell: Callable[[T], object]


class Output:
    """Standard output of one command, and its notes on standard error."""

    def __init__(self, *, as_json: bool, clock: Clock | None = None) -> None:
        """Write for machines, or for people."""
        self.as_json = as_json
        self.is_terminal = sys.stdout.isatty() and not as_json
        self._clock = clock or SystemClock()

    def data(self, value: object) -> None:
        """One JSON document."""
        click.echo(json.dumps(to_jsonable_python(value), indent=2 if self.as_json else None))

    def line(self, text: str = "") -> None:
        """A line for people; machines do not get it."""
        if not self.as_json:
            click.echo(text)

    def note(self, text: str) -> None:
        """A remark beside the result."""
        if not self.as_json:
            click.echo(text, err=True)

    def done(self, text: str, value: object) -> None:
        """The result of an action: a sentence for people, the changed thing for machines."""
        if self.as_json:
            self.data(value)
        else:
            click.echo(text)

    def table(self, rows: Sequence[T], columns: Sequence[Column[T]], *, nothing: str) -> None:
        """A list: all fields as JSON, or the columns."""
        if self.as_json:
            self.data(rows)
            return
        if not rows:
            self.note(nothing)
            return
        cells = [[self._text(column.cell(row)) for column in columns] for row in rows]
        titles = [column.title for column in columns]
        if self.is_terminal:
            load("agentvine.cli.terminal:print_table")(titles, cells)
            return
        widths = [max(map(len, texts)) for texts in zip(titles, *cells, strict=True)]
        for texts in ([title.upper() for title in titles], *cells):
            padded = (text.ljust(width) for text, width in zip(texts, widths, strict=True))
            click.echo("  ".join(padded).rstrip())

    def record(self, value: BaseModel, fields: Sequence[tuple[str, object]]) -> None:
        """One thing: all of it as JSON, or the given fields; empty ones are left out."""
        if self.as_json:
            self.data(value)
            return
        shown = [(name, self._text(field)) for name, field in fields if field not in (None, "", [])]
        width = max((len(name) for name, _ in shown), default=0)
        for name, text in shown:
            head, *more = text.splitlines() or [""]
            click.echo(f"{click.style(name.ljust(width), dim=True)}  {head}")
            for line in more:
                click.echo(f"{' ' * width}  {line}")

    def age(self, when: datetime | None) -> str:
        """A time as people say it."""
        return fmt_age(when, self._clock.now())

    def _text(self, value: object) -> str:
        if isinstance(value, datetime):
            return self.age(value)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if value is None or value == "":
            return "-"
        if isinstance(value, list | tuple):
            return ", ".join(str(item) for item in value) or "-"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # only printed
        return str(value)


def dump(model: BaseModel, **extra: Any) -> dict[str, Any]:
    """A model as JSON-compatible values, with more beside its fields."""
    return {**model.model_dump(mode="json"), **to_jsonable_python(extra)}


def printable(text: str) -> str:
    """A line of a program's output without what would move the reader's cursor; tabs stay."""
    if text.isprintable():
        return text
    return "".join(c for c in click.unstyle(text) if c == "\t" or c.isprintable())


def in_short(text: str) -> str:
    """A text of any length as one line of a table."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _IN_SHORT else f"{line[: _IN_SHORT - 1]}…"

"""Options and parameter types that several commands share."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import click

from agentvine.kit.clock import SystemClock

F = TypeVar("F", bound=Callable[..., Any])

GLOBAL_OPTIONS = ("--json", "--server", "--token")
"""What every command takes; the last two only where a server is asked."""
_KEY = "agentvine.cli."


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """What may be said before or after the command."""

    as_json: bool = False
    server: str | None = None
    token: str | None = None


def global_options() -> GlobalOptions:
    """What was said, wherever it stood."""
    meta = click.get_current_context().meta
    return GlobalOptions(
        as_json=bool(meta.get(f"{_KEY}json")),
        server=meta.get(f"{_KEY}server"),
        token=meta.get(f"{_KEY}token"),
    )


def add_global_options(command: click.Command, *, asks_server: bool) -> None:
    """Let a command and all below it take the global options too."""
    taken = {name for parameter in command.params for name in parameter.opts}
    for option in _declarations(asks_server=asks_server):
        if not taken & set(option.opts):
            command.params.append(option)
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        add_global_options(below, asks_server=asks_server)


def _declarations(*, asks_server: bool) -> list[click.Option]:
    declared = [
        click.Option(
            ["--json", "json"],
            is_flag=True,
            expose_value=False,
            callback=_remember,
            help="Print what machines can read.",
        )
    ]
    if asks_server:
        declared += [
            click.Option(
                ["--server"],
                metavar="URL",
                expose_value=False,
                callback=_remember,
                help="The server to ask.",
            ),
            click.Option(
                ["--token"],
                metavar="TOKEN",
                expose_value=False,
                callback=_remember,
                help="The token to show it.",
            ),
        ]
    return declared


def _remember(ctx: click.Context, param: click.Parameter, value: object) -> None:
    # The meta of a context is shared by all contexts of one call; a default erases nothing.
    if value:
        ctx.meta[f"{_KEY}{param.name}"] = value


class Words(click.Choice[str]):
    """One of the words of an enum; other trackers' words for them are taken too."""

    def __init__(self, enum: type[StrEnum], *, besides: Sequence[StrEnum] = ()) -> None:
        """Offer the enum's values, all but some."""
        super().__init__([member.value for member in enum if member not in besides])
        self._enum = enum

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> StrEnum:
        """The enum's member."""
        word = str(value).lower().replace("-", "_")
        try:
            found = self._enum(word)
        except ValueError:
            found = None
        if found is None or found.value not in self.choices:
            return self._enum(super().convert(word, param, ctx))
        return found


class Assignments(click.ParamType[tuple[str, StrEnum]]):
    """``name:level`` as a pair, like ``python:expert``."""

    name = "name:level"

    def __init__(self, levels: type[StrEnum]) -> None:
        """Take the levels of an enum; a name alone means its second one."""
        self._levels = levels

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, StrEnum]:
        """The name and the level."""
        if isinstance(value, tuple):
            return value  # pyright: ignore[reportUnknownVariableType]  # converted once already
        name, _, level = str(value).partition(":")
        words = [member.value for member in self._levels]
        if not name or (level and level not in words):
            self.fail(
                f"{value!r} is not NAME:LEVEL with a level of {', '.join(words)}.", param, ctx
            )
        return name, self._levels(level or words[1])


class Pair(click.ParamType[tuple[str, str]]):
    """``name=value`` as a pair; the value may be empty, and hold what it likes."""

    name = "name=value"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """The name and the value."""
        if isinstance(value, tuple):
            return value  # pyright: ignore[reportUnknownVariableType]  # converted once already
        name, equals, given = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not NAME=VALUE.", param, ctx)
        return name, given


def project_option(function: F) -> F:
    """``--project``, where a name may mean several things."""
    return click.option("--project", metavar="PROJECT", help="Name or id of the project.")(function)


def attach_option(function: F) -> F:
    """``--attach``, for files that go with words."""
    return click.option(
        "--attach",
        "files",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        multiple=True,
        help="Send this along; can be repeated.",
    )(function)


def limit_option(function: F) -> F:
    """``--limit`` of a list."""
    return click.option(
        "--limit", "-n", type=click.IntRange(1), default=None, help="Show at most this many."
    )(function)


def yes_option(function: F) -> F:
    """``--yes`` of what cannot be undone."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(function)


def dry_run_option(function: F) -> F:
    """``--dry-run`` of what removes."""
    return click.option("--dry-run", is_flag=True, help="Only say what would be done.")(function)


def reason_option(function: F) -> F:
    """``--reason`` of a decision."""
    return click.option(
        "--reason", "-m", default="", metavar="TEXT", help="Why; kept in the history."
    )(function)


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Span(click.ParamType[int]):
    """A length of time in seconds: ``90``, ``30m``, ``2h``, ``3d``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Its seconds."""
        found = re.fullmatch(r"(\d{1,9})([smhdw]?)", str(value).strip().lower())
        if found is None:
            self.fail(f"{value!r} is not a time like 90, 30m, 2h or 3d.", param, ctx)
        return int(found.group(1)) * _UNITS[found.group(2) or "s"]


class Moment(click.ParamType[datetime]):
    """A point in time: ``2026-12-24T18:00``, here when it names no zone; or ``+2h`` from now."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """That point, with its zone."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        if text.startswith("+"):
            seconds = Span().convert(text[1:], param, ctx)
            return SystemClock().now() + timedelta(seconds=seconds)
        try:
            return datetime.fromisoformat(text).astimezone()
        except ValueError:
            self.fail(f"{value!r} is not a time like 2026-12-24T18:00 or +2h.", param, ctx)


class Dollars(click.ParamType[Decimal]):
    """An amount in US dollars, to the cent: ``20``, ``0.50``, ``$3``."""

    name = "dollars"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        """That amount."""
        found = re.fullmatch(r"\$?(\d{1,8}(?:\.\d{1,2})?)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not an amount like 20 or 0.50.", param, ctx)
        return Decimal(found.group(1))


class Rate(click.ParamType[Decimal]):
    """Dollars a million tokens, to the micro-dollar: ``3``, ``0.075``."""

    name = "dollars"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Decimal:
        """That rate."""
        found = re.fullmatch(r"\$?(\d{1,6}(?:\.\d{1,6})?)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is not a price like 3 or 0.075.", param, ctx)
        return Decimal(found.group(1))

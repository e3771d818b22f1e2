"""Groups and actions that are imported when somebody asks for them."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

from agentvine.cli.options import add_global_options
from agentvine.cli.parts import Parts


def load(target: str) -> Any:
    """The object that ``package.module:name`` names."""
    module, _, name = target.partition(":")
    return getattr(import_module(module), name)


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command that is not imported yet."""

    target: str
    summary: str
    """Its line in the list of commands."""
    asks_server: bool = True
    """Whether it speaks to a server, and so takes --server and --token."""


class LazyGroup(click.Group):
    """A group whose commands are imported one by one, when they are called."""

    def __init__(self, *args: Any, lazy: Mapping[str, Lazy], **kwargs: Any) -> None:
        """Keep the commands' names and summaries."""
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order they were given in, which is the order to learn them."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One command, imported now."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        lazy = self.lazy.get(cmd_name)
        if lazy is None:
            return None
        command: click.Command = load(lazy.target)
        command.name = cmd_name
        add_global_options(command, asks_server=lazy.asks_server)
        self.commands[cmd_name] = command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; click would import all of them to say that there is none."""
        if args and args[0] not in self.lazy and args[0][:1].isalnum():
            near = _nearest(args[0], self.lazy)
            hint = f" Did you mean {near!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.summary) for name, lazy in self.lazy.items()])


def runs(target: str) -> Callable[[Callable[..., None]], Callable[..., Any]]:
    """Make a command's function run the action that ``target`` names.

    The decorated function only lends its name and its help. The action is ``async`` and takes the
    session and the command's values: ``async def show(session, *, task, project)``.
    """

    def decorate(words: Callable[..., None]) -> Callable[..., Any]:
        @functools.wraps(words)
        def callback(**values: Any) -> Any:
            return load("agentvine.cli.session:run_action")(load(target), values)

        callback.target = target  # type: ignore[attr-defined]  # read by the test of all actions
        return callback

    return decorate


def runs_part(name: str) -> Callable[[Callable[..., None]], Callable[..., Any]]:
    """Make a command's function run what ``Parts`` names, which is no business of ``cli``."""

    def decorate(words: Callable[..., None]) -> Callable[..., Any]:
        @functools.wraps(words)
        def callback(**values: Any) -> Any:
            parts = click.get_current_context().find_object(Parts) or Parts()
            return load(getattr(parts, name))(**values)

        return callback

    return decorate


def _nearest(word: str, names: Mapping[str, Lazy]) -> str | None:
    for name in names:
        if name.startswith(word) or word.startswith(name):
            return name
    return None

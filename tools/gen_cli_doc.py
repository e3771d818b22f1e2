"""``python -m tools.gen_cli_doc``: writes docs/reference/cli.md from the commands themselves."""

import sys
from collections.abc import Iterator, Mapping

import click

from agentvine.cli.failures import EXIT_BROKEN_PIPE, EXIT_INTERRUPTED, EXIT_USAGE, exit_code_of_kind
from agentvine.cli.options import GLOBAL_OPTIONS
from agentvine.cli.root import COMMANDS, root
from agentvine.cli.session import EXIT_TERMINATED
from agentvine.cli.verdict import Outcome
from agentvine.kit.errors import AppError, title_of
from tools.gen_errors_doc import CATEGORIES
from tools.pages import Page, code, table, text_of

_HEADER = """\
# The command line

Written from the commands by `python -m tools.gen_cli_doc`, not by hand; a test holds it to them.
`agentvine COMMAND --help` says the same.

A task is called `T-12` or by its id; a repository by name, path or id; other things by name or id.
A name that means several things is refused, with the candidates; `--project` says which is meant.
"""
_OPTIONS = """\
Every command takes `--json`: then standard output holds one JSON document (for `logs` one a line),
and an error is a problem document on standard error. Every command that asks a server also takes
`--server URL` and `--token TOKEN`. The server asked is, in this order: that of `--server`; that of
`AGENTVINE_SERVER_URL`; the one signed in to with `agentvine login`; the one that `agentvine up`
runs on the same data directory. These options may stand before or after the command.
"""


def render() -> str:
    """The whole page."""
    parts = [_HEADER, "| Command | Does |", "| --- | --- |"]
    parts += [
        f"| [{name}](#agentvine-{name}) | {lazy.summary} |" for name, lazy in COMMANDS.items()
    ]
    parts += ["", "## Options of all commands\n", _OPTIONS, "## Exit codes\n", *_exit_codes()]
    for path, command in commands().items():
        parts += _section(path, command)
    return "\n".join(parts)


def commands() -> dict[str, click.Command]:
    """Every command and group by what one types, in the order one learns them."""
    found: dict[str, click.Command] = {}
    _collect("agentvine", root, found)
    del found["agentvine"]
    return found


def _collect(path: str, command: click.Command, found: dict[str, click.Command]) -> None:
    found[path] = command
    if isinstance(command, click.Group):
        with click.Context(command) as context:
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None, "a listed command exists"
                _collect(f"{path} {name}", below, found)


def _exit_codes() -> Iterator[str]:
    by_code: dict[int, list[str]] = {}
    for category in CATEGORIES:
        by_code.setdefault(exit_code_of_kind(category), []).append(_meaning(category))
    own: Mapping[int, str] = {
        0: "All went well. For `run` also: the change waits for approval, or there was nothing to "
        "change",
        1: "The watched task failed, cannot go on, was cancelled, or its change could not be "
        "merged (`run`, `demo`); something needs to be done (`doctor`, `db check`)",
        EXIT_INTERRUPTED: "Interrupted by Ctrl-C",
        EXIT_BROKEN_PIPE: "Who read our output went away",
        EXIT_TERMINATED: "Ended by SIGTERM, or with its terminal",
    }
    by_code[EXIT_USAGE].insert(0, "The command line is wrong")
    by_code[Outcome.BUDGET_USED_UP.exit_code].insert(0, "A budget stopped the task (`run`)")
    told = {**own, **{number: "; ".join(texts) for number, texts in by_code.items()}}
    yield from table(("Code", "Meaning"), ((str(key), told[key]) for key in sorted(told)))
    yield "The errors behind each code: [errors.md](errors.md).\n"


def _meaning(category: type[AppError]) -> str:
    return f"{title_of(category)} (`{category.__name__}`)"


def _section(path: str, command: click.Command) -> Iterator[str]:
    yield f"{'#' * (path.count(' ') + 1)} {path}\n"
    context = click.Context(command, info_name=path)
    yield f"    {' '.join([path, *command.collect_usage_pieces(context)])}\n"
    yield from _help(command)
    rows = [_option_cells(option, context) for option in own_options(command)]
    if rows:
        yield from table(("Option", "Meaning", "Default"), rows)


def _help(command: click.Command) -> Iterator[str]:
    for paragraph in text_of(command.help).split("\n\n"):
        # click keeps the lines of what begins with a backspace.
        if paragraph.startswith("\b"):
            yield "\n".join(f"    {line}" for line in paragraph.splitlines()[1:]) + "\n"
        elif paragraph:
            yield f"{paragraph}\n"


def own_options(command: click.Command) -> list[click.Option]:
    """The options of a command that not all commands have, and that are not hidden."""
    return [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        and not parameter.hidden
        and parameter.opts[0] not in GLOBAL_OPTIONS
    ]


def _option_cells(option: click.Option, context: click.Context) -> tuple[str, ...]:
    names = ", ".join([*option.opts, *option.secondary_opts])
    is_flag = option.is_flag or option.count
    metavar = "" if is_flag else f" {option.make_metavar(context).removesuffix(' RANGE')}"
    extra = option.get_help_extra(context)
    marks = [mark for mark in (extra.get("required"), extra.get("range")) if mark]
    # Some say their default in words of their own.
    meaning, _, said = (option.help or "").partition("  [default: ")
    told = f"{meaning} ({', '.join(marks)})" if marks else meaning
    return code(names + metavar), told, code(said.rstrip("]") or str(extra.get("default", "")))


PAGE = Page("cli.md", "tools.gen_cli_doc", render)

if __name__ == "__main__":
    sys.exit(PAGE.main())

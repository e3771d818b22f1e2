"""The last line of every command: errors become one line on stderr and an exit code."""

import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import click

from agentvine.cli.parts import Parts
from agentvine.cli.root import root
from agentvine.kit.errors import (
    AppError,
    Conflict,
    Forbidden,
    Internal,
    Invalid,
    LimitReached,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from agentvine.kit.ids import random_token

EXIT_USAGE = 2
EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE

_EXIT_CODES: tuple[tuple[type[AppError], int], ...] = (
    (Invalid, 2),
    (Unauthenticated, 3),
    (Forbidden, 3),
    (NotFound, 4),
    (Conflict, 5),
    (LimitReached, 6),
    (Unavailable, 7),
    (Internal, 70),
)


def exit_code_of(error: AppError) -> int:
    """The exit code of an error's category."""
    return exit_code_of_kind(type(error))


def exit_code_of_kind(error: type[AppError]) -> int:
    """The exit code of all errors of a class."""
    return next((code for kind, code in _EXIT_CODES if issubclass(error, kind)), 70)


def run(arguments: Sequence[str], parts: Parts) -> int:
    """Run one command to its end; the exit code."""
    as_json = "--json" in arguments
    try:
        return _run(arguments, parts)
    except AppError as error:
        return _tell(_problem(error), exit_code_of(error), as_json=as_json)
    except click.ClickException as error:
        return _tell_usage(error, as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    # lint: allow AV007 (the last resort of the CLI: a trace, an id and exit code 70)
    except Exception as error:  # noqa: BLE001 - see the line above
        return _tell_bug(error, as_json=as_json)
    finally:
        _give_up_unread_errors()


def _give_up_unread_errors() -> None:
    """Nobody may read what we say beside the result; that must not become the exit code."""
    try:
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _run(arguments: Sequence[str], parts: Parts) -> int:
    stdout = sys.stdout
    try:
        result = root.main(
            args=list(arguments), prog_name="agentvine", standalone_mode=False, obj=parts
        )
        stdout.flush()
    except BrokenPipeError:
        return _end_without_reader()
    except SystemExit:
        # When who read our output goes away, click puts something else in its place, and exits.
        if sys.stdout is stdout:
            raise
        sys.stdout = stdout
        return _end_without_reader()
    return result if isinstance(result, int) else 0


def _end_without_reader() -> int:
    # Python's own flush at exit must not complain about it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE


def _problem(error: AppError) -> dict[str, Any]:
    status = getattr(error, "status", 0)
    return {
        "type": f"urn:agentvine:error:{error.code}",
        "title": error.title,
        **({"status": status} if status else {}),
        "detail": error.detail,
        "code": error.code,
        **error.extra,
    }


def _tell(problem: dict[str, Any], exit_code: int, *, as_json: bool) -> int:
    if as_json:
        text = json.dumps({**problem, "exit_code": exit_code}, default=str)
    else:
        text = f"{problem['title']}: {problem['detail']}"
    click.echo(text, err=True)
    return exit_code


def _tell_usage(error: click.ClickException, *, as_json: bool) -> int:
    if not as_json:
        error.show()
        return EXIT_USAGE
    problem = {
        "type": "urn:agentvine:error:usage",
        "title": "The command line is wrong",
        "detail": error.format_message(),
        "code": "usage",
    }
    return _tell(problem, EXIT_USAGE, as_json=True)


def _tell_bug(error: Exception, *, as_json: bool) -> int:
    bug_id = random_token(6)
    trace = "".join(traceback.format_exception(error))
    if not as_json:
        click.echo(trace, err=True)
    problem = {
        "type": "urn:agentvine:error:internal",
        "title": "A bug in AgentVine",
        "detail": f"{type(error).__name__}: {error} (id {bug_id}). Please report it.",
        "code": "internal",
        "id": bug_id,
        **({"trace": trace} if as_json else {}),
    }
    return _tell(problem, exit_code_of(Internal("")), as_json=as_json)

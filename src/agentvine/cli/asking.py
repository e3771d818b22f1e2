"""Reading what a person types, or what is piped in, such that Ctrl-C ends the wait.

Actions run in an event loop, which takes signals for itself and acts on them when it has its turn.
While a read blocks it has none: without this, Ctrl-C would do nothing until the input ends.
"""

import signal
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn, TextIO

import click

_ENDING = (signal.SIGTERM, signal.SIGHUP)


def read_input(most_characters: int = -1, *, file: TextIO | None = None) -> str:
    """Standard input, or an open file, to its end or so far."""
    with _ends_by_signal():
        return (file or sys.stdin).read(most_characters)


def read_line() -> str:
    """The next line of standard input with its end; empty when there is none."""
    with _ends_by_signal():
        return sys.stdin.readline()


def read_lines() -> Iterator[str]:
    """The lines of standard input, each when it comes."""
    while line := read_line():
        yield line


def prompt(
    text: str,
    *,
    default: str | None = None,
    suffix: str = ": ",
    is_secret: bool = False,
    twice: bool = False,
    err: bool = True,
) -> str:
    """Ask a person at the terminal for a line.

    Args:
        text: What is asked.
        default: What an empty line means; without it the question is asked again.
        suffix: What stands behind the text.
        is_secret: Whether what is typed is not shown.
        twice: Whether it is to be typed again, the same.
        err: Whether to ask on standard error.
    """
    with _ends_by_signal():
        return click.prompt(
            text,
            default=default,
            show_default=False,
            prompt_suffix=suffix,
            hide_input=is_secret,
            confirmation_prompt=twice,
            err=err,
        )


def confirm(question: str) -> None:
    """Ask a person at the terminal for a yes.

    Raises:
        click.Abort: They did not say it.
    """
    with _ends_by_signal():
        click.confirm(question, abort=True, err=True)


@contextmanager
def _ends_by_signal() -> Generator[None]:
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        **{signum: signal.signal(signum, _end) for signum in _ENDING},
    }
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + signum)

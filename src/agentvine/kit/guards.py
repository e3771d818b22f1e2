"""Knows whether the running task holds a database transaction open.

A write transaction on SQLite blocks every other writer, and on PostgreSQL it holds a pooled
connection and row locks. Waiting inside one for a network, a subprocess or a language model
therefore stops everybody. What waits calls ``assert_no_transaction`` first.

Tasks started inside a transaction inherit the mark, because their parent usually waits for them;
the mark itself ends with the transaction, so a task that outlives it is free again.
"""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from agentvine.kit.errors import Internal


class WaitingInsideTransaction(Internal):
    """Something would wait while a database transaction is open."""

    code = "waiting_inside_transaction"


@dataclass(slots=True)
class _Mark:
    what: str
    is_open: bool = True


_mark: ContextVar[_Mark | None] = ContextVar("agentvine_open_transaction", default=None)


def in_transaction() -> bool:
    """Whether this task, or the one that started it, holds a transaction open."""
    mark = _mark.get()
    return mark is not None and mark.is_open


def assert_no_transaction(what: str) -> None:
    """Refuse to go on inside an open transaction.

    Args:
        what: What is about to wait, for the message ("call GitHub", "run git").
    """
    mark = _mark.get()
    if mark is not None and mark.is_open:
        raise WaitingInsideTransaction(
            f"Cannot {what} inside {mark.what}: load what is needed, leave the transaction, "
            "wait, and apply the result in a second transaction."
        )


@contextmanager
def transaction_mark(what: str) -> Generator[None]:
    """Mark this task as holding a transaction for the length of the block.

    The variable is set back by value, not by token: FastAPI may close a dependency in another
    context than the one it was opened in, where a token is refused.
    """
    before = _mark.get()
    mark = _Mark(what)
    _mark.set(mark)
    try:
        yield
    finally:
        mark.is_open = False
        _mark.set(before)


@contextmanager
def outside_transaction() -> Generator[None]:
    """Forget an inherited mark for the length of the block.

    For a task that is started inside a transaction but not waited for there.
    """
    before = _mark.get()
    _mark.set(None)
    try:
        yield
    finally:
        _mark.set(before)

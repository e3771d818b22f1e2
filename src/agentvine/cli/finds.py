"""Lines that were looked for, with those around them, as ``grep`` shows them."""

import json
import uuid

import click

from agentvine.cli.output import printable
from agentvine.cli.session import Session
from agentvine.protocol.executions import LogLineOut, LogMatchOut


class Finds:
    """Shows matches as they come; lines between two that belong to both are shown once."""

    def __init__(self, session: Session) -> None:
        """Show nothing yet."""
        self._session = session
        self._execution: uuid.UUID | None = None
        self._prefix = ""
        self._shown = 0
        """The id of the last line that was shown."""
        self._pending: list[LogLineOut] = []
        self.count = 0
        """How many matches were shown."""

    def show(self, match: LogMatchOut, prefix: str = "") -> None:
        """Show the next match; machines get one JSON document per line."""
        self.count += 1
        if self._session.out.as_json:
            click.echo(json.dumps(match.model_dump(mode="json")))
            return
        if match.execution_id != self._execution:
            self.end()
            self._execution, self._shown = match.execution_id, 0
        self._prefix = prefix
        first = (match.before or [match.line])[0]
        is_apart = bool(self._shown) and all(line.id < first.id for line in self._pending)
        for line in self._pending:
            if line.id < match.line.id:
                self._print(line, "-")
        if is_apart and (match.before or self._pending):
            click.echo("--")
        for line in match.before:
            self._print(line, "-")
        self._print(match.line, ":")
        self._pending = match.after

    def end(self) -> None:
        """Show what follows the last match."""
        for line in self._pending:
            self._print(line, "-")
        self._pending = []

    def _print(self, line: LogLineOut, mark: str) -> None:
        if line.id > self._shown:
            self._shown = line.id
            text = f"{self._prefix}{line.stream}{mark}{line.seq}{mark} {line.message}"
            click.echo(printable(text))

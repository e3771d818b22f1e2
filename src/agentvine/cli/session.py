"""One command while it runs: its settings, its output, its server."""

import asyncio
import contextlib
import inspect
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import click

from agentvine.cli import asking
from agentvine.cli.connection import Connection, find_connection
from agentvine.cli.options import GlobalOptions, global_options
from agentvine.cli.output import Output
from agentvine.cli.parts import Parts
from agentvine.client import Client
from agentvine.config.settings import Settings, load_settings
from agentvine.kit.errors import Invalid

EXIT_TERMINATED = 128 + signal.SIGTERM


class ConfirmationMissing(Invalid):
    """This cannot be undone."""

    code = "confirmation_missing"


class Session:
    """What an action works with."""

    def __init__(
        self, settings: Settings, options: GlobalOptions, parts: Parts, out: Output
    ) -> None:
        """Prepare; the server is looked for when it is first needed."""
        self.settings = settings
        self.options = options
        self.parts = parts
        self.out = out
        self._connection: Connection | None = None
        self._client: Client | None = None

    @property
    def connection(self) -> Connection:
        """The server to ask.

        Raises:
            NoServer: None is known.
        """
        if self._connection is None:
            self._connection = find_connection(self.settings, self.options)
        return self._connection

    @property
    def client(self) -> Client:
        """The server's API."""
        if self._client is None:
            self._client = Client(self.connection.url, self.connection.token)
        return self._client

    async def use(self, connection: Connection) -> None:
        """Go on with another server, or with the same one at a new address."""
        await self.close()
        self._connection = connection

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
        self._client = None

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before what cannot be undone.

        Raises:
            ConfirmationMissing: Nobody is there to answer.
        """
        if yes:
            return
        if not sys.stdin.isatty() or self.out.as_json:
            raise ConfirmationMissing(f"{question} Add --yes to say so.")
        asking.confirm(question)


Action = Callable[..., Awaitable[int | None]]


def run_action(action: Action, values: Mapping[str, Any]) -> int | None:
    """Run an action with a session of its own; its exit code."""
    options = global_options()
    parts = click.get_current_context().find_object(Parts) or Parts()

    async def run() -> int | None:
        _cancel_on_signals()
        session = Session(load_settings(), options, parts, Output(as_json=options.as_json))
        try:
            result = action(session, **values)
            return await result if inspect.isawaitable(result) else result
        finally:
            await session.close()

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        return EXIT_TERMINATED


def _cancel_on_signals() -> None:
    """Let SIGTERM and a closed terminal unwind the command, so that what it started is ended."""
    task = asyncio.current_task()
    assert task is not None
    for signum in (signal.SIGTERM, signal.SIGHUP):
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signum, task.cancel)

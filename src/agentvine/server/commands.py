"""What ``agentvine server`` and ``agentvine openapi`` do, and the doctor's look at the database."""

import asyncio
import gc
import json
import os
from typing import TextIO

import click

from agentvine.config.settings import Settings, load_settings
from agentvine.db.session import Database
from agentvine.domains.gateway.routes import PREFIX
from agentvine.domains.identity import service as identity
from agentvine.kit.actor import SystemActor
from agentvine.kit.clock import SystemClock
from agentvine.kit.lifeline import stop_without_parent
from agentvine.server.app import create_app
from agentvine.server.gateway import serve_gateway
from agentvine.server.loop import run_server
from agentvine.server.migrations import migration_runner
from agentvine.server.run import Serving, serve
from agentvine.server.speech import is_json_wanted, tell_first_login

_OPERATOR = SystemActor("operator")


def serve_alone(*, host: str, port: int, migrate: bool, parent: int | None) -> None:
    """Start a server, and stay until told to stop."""
    as_json = is_json_wanted()

    async def tell(serving: Serving) -> None:
        # What start-up has made stays: the collector need not walk through it again and again.
        gc.collect()
        gc.freeze()
        first = serving.first_admin
        if as_json:
            login = {"username": first.user.username, "password": first.password} if first else None
            fact = {"url": serving.url, "pid": os.getpid(), "first_login": login}
            click.echo(json.dumps(fact))
            return
        click.echo(f"AgentVine serves {serving.url}.")
        tell_first_login(first)

    with stop_without_parent(parent):
        run_server(serve(load_settings(), host=host, port=port, ready=tell, migrate=migrate))


def serve_gateway_alone(*, host: str, port: int, parent: int | None) -> None:
    """Start a gateway, and stay until told to stop."""
    as_json = is_json_wanted()

    async def tell(url: str) -> None:
        if as_json:
            click.echo(json.dumps({"url": url, "pid": os.getpid()}))
        else:
            click.echo(f"The gateway serves {url}{PREFIX}.")

    with stop_without_parent(parent):
        run_server(serve_gateway(load_settings(), host=host, port=port, ready=tell))


def reset_password(*, username: str) -> None:
    """Give a user a new password, and show it once."""
    settings = load_settings()

    async def reset() -> str:
        await migration_runner(settings.database).require_ready()
        database = await Database.open(settings.database, SystemClock())
        try:
            async with database.transaction(_OPERATOR) as tx:
                return await identity.set_password(
                    tx, username, bcrypt_rounds=settings.bcrypt_rounds
                )
        finally:
            await database.close()

    password = asyncio.run(reset())
    if is_json_wanted():
        click.echo(json.dumps({"username": username, "password": password}))
    else:
        click.echo(f"The password of {username} is now, shown this once: {password}")


def print_openapi(*, output: TextIO) -> None:
    """Print the API's description."""
    document = create_app(load_settings()).openapi()
    click.echo(json.dumps(document, indent=2), file=output)


async def check_database(settings: Settings) -> str:
    """Where the database stands, for ``agentvine doctor``.

    Raises:
        AppError: It cannot be reached, or is not at the newest revision.
    """
    runner = migration_runner(settings.database)
    await runner.require_ready()
    current = await runner.current()
    return f"reachable, at revision {current.revision}"

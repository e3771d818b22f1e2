"""What the server's commands say at a terminal."""

import click

from agentvine.domains.identity.service import NewUser

_JSON_WANTED = "agentvine.cli.json"
"""Where the command line keeps that ``--json`` was given; it may stand before the command."""


def is_json_wanted() -> bool:
    """Whether machines read what the running command prints."""
    return bool(click.get_current_context().meta.get(_JSON_WANTED))


def tell_first_login(first: NewUser | None) -> None:
    """Show the password of the admin just made; it is kept nowhere."""
    if first is not None:
        click.echo(
            f"First login, shown this once: user {first.user.username}, password {first.password}\n"
            "Change it with `agentvine user password`."
        )

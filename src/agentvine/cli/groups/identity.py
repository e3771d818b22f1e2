"""``agentvine login``, ``logout``, ``whoami``, ``user`` and ``token``."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, limit_option
from agentvine.protocol.enums import UserRole

_ACTIONS = "agentvine.cli.actions.identity"


@click.command()
@click.argument("url", metavar="[URL]", required=False)
@click.option("--username", "-u", metavar="NAME", help="Asked for when left out.")
@click.option(
    "--password-stdin",
    is_flag=True,
    help="Read the password from stdin; otherwise it is asked for.",
)
@runs(f"{_ACTIONS}:login")
def login() -> None:
    """Sign in to a server and remember it.

    With --token the token is checked and kept as it is.
    """


@click.command()
@click.argument("url", metavar="[URL]", required=False)
@runs(f"{_ACTIONS}:logout")
def logout() -> None:
    """Forget a server, and end the token that signing in made."""


@click.command()
@runs(f"{_ACTIONS}:whoami")
def whoami() -> None:
    """Show which server is asked, and who it takes you for."""


@click.group()
def user() -> None:
    """People, called by name, address or id."""


@user.command("list")
@limit_option
@runs(f"{_ACTIONS}:list_users")
def list_users() -> None:
    """List everybody."""


@user.command("show")
@click.argument("name", metavar="USER")
@runs(f"{_ACTIONS}:show_user")
def show_user() -> None:
    """Show somebody."""


@user.command("create")
@click.argument("username", metavar="NAME")
@click.option("--email", metavar="ADDRESS", required=True, help="Their address.")
@click.option("--full-name", metavar="TEXT", help="Their name as written.")
@click.option("--role", type=Words(UserRole), help="What they may do; developer when left out.")
@click.option("--password-stdin", is_flag=True, help="Read a password; otherwise one is made.")
@runs(f"{_ACTIONS}:create_user")
def create_user() -> None:
    """Create a user; a password is made and shown once."""


@user.command("edit")
@click.argument("name", metavar="USER")
@click.option("--email", metavar="ADDRESS", help="Another address.")
@click.option("--full-name", metavar="TEXT", help="Their name as written.")
@click.option("--role", type=Words(UserRole), help="What they may do.")
@click.option("--active/--inactive", default=None, help="Whether they may sign in.")
@runs(f"{_ACTIONS}:edit_user")
def edit_user() -> None:
    """Change somebody; what is not named stays."""


@user.command("password")
@runs(f"{_ACTIONS}:change_password")
def change_password() -> None:
    """Change your own password."""


@click.group()
def token() -> None:
    """Tokens for yourself and for workers."""


@token.command("list")
@click.option("--all", "every", is_flag=True, help="Also those that are revoked.")
@limit_option
@runs(f"{_ACTIONS}:list_tokens")
def list_tokens() -> None:
    """List tokens, without their secrets."""


@token.command("create")
@click.argument("name", metavar="NAME")
@click.option("--worker", is_flag=True, help="For a worker; only admins make such.")
@click.option("--scope", "scopes", metavar="SCOPE", multiple=True, help="Like tasks:read.")
@click.option("--days", type=click.IntRange(1, 3650), help="Ends after so many days.")
@runs(f"{_ACTIONS}:create_token")
def create_token() -> None:
    """Create a token; its text is shown this once."""


@token.command("revoke")
@click.argument("name", metavar="TOKEN")
@runs(f"{_ACTIONS}:revoke_token")
def revoke_token() -> None:
    """End a token now, by its name, prefix or id."""

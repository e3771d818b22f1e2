"""``agentvine notification``."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, limit_option
from agentvine.protocol.notifications import Channel, Wanted

_ACTIONS = "agentvine.cli.actions.notifications"


@click.group()
def notification() -> None:
    """What you were told, and how you want to be told."""


@notification.command("list")
@click.option("--unread", is_flag=True, help="Only what you have not read.")
@limit_option
@runs(f"{_ACTIONS}:list_notifications")
def list_notifications() -> None:
    """List what you were told, newest first, and how far it was sent."""


@notification.command()
@click.argument("names", metavar="[NOTIFICATION]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Put everything away, and show nothing.")
@runs(f"{_ACTIONS}:read")
def read() -> None:
    """Show notifications in full, and put them away; all that are unread, where none is named.

    A notification is called by the short name that `agentvine notification list` shows, or its id.
    """


@notification.command()
@click.option("--email", type=Words(Wanted), help="What you want to be told by mail.")
@click.option("--telegram", type=Words(Wanted), help="What you want to be told by Telegram.")
@click.option(
    "--telegram-chat",
    metavar="ID|none",
    help="Your chat with the server's bot: a number, negative for a group.",
)
@runs(f"{_ACTIONS}:settings")
def settings() -> None:
    """Show what you want to be told over which channel; change it with options.

    `important` is what has failed, or stands still until you act.
    """


@notification.command()
@runs(f"{_ACTIONS}:link")
def link() -> None:
    """Prove that a Telegram chat is yours, so that you can answer agents there.

    It prints what to send to the server's bot, good once and for a quarter of an hour.
    """


@notification.command()
@click.option(
    "--channel",
    "channels",
    type=Words(Channel),
    multiple=True,
    help="Over this one; can be repeated. All that reach you, where none is named.",
)
@runs(f"{_ACTIONS}:test")
def test() -> None:
    """Send yourself a test; `agentvine notification list` shows what became of it."""

"""``agentvine db ...``: the words; what they do is in ``db_actions.py``, loaded when one runs."""

from importlib import import_module
from typing import Any

import click


@click.group()
def db() -> None:
    """The database: make it, bring its schema up to date, look after it.

    It is the one of AGENTVINE_DATABASE_URL (or DATABASE_URL); without that, a SQLite file in the
    data directory. A SQLite file is copied before it is changed.
    """


@db.command()
def init() -> None:
    """Make the database and its schema, where there is none.

    One that has a schema already is left alone, whatever its revision.
    """
    _act("init")


@db.command()
def setup() -> None:
    """Make the database where there is none, and bring it to the newest schema.

    On PostgreSQL the database itself is created too, when the role may.
    """
    _act("setup")


@db.command()
@click.argument("revision", metavar="[REV]", default="head")
def upgrade(revision: str) -> None:
    """Bring the schema forward: to the newest revision, or to REV."""
    _act("upgrade", revision)


@db.command(context_settings={"ignore_unknown_options": True})  # -1 is a step, not an option
@click.argument("revision", metavar="REV")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def downgrade(revision: str, *, yes: bool) -> None:
    """Take the schema back to REV, a step (-1), or to nothing (base).

    What the newer schema held and the older one has no place for is lost.
    """
    _act("downgrade", revision, yes=yes)


@db.command()
@click.argument("revision", metavar="REV")
def stamp(revision: str) -> None:
    """Write down that the schema is at REV, without changing it.

    For a database whose schema is known to be right, but whose revision is not written down.
    """
    _act("stamp", revision)


@db.command()
def current() -> None:
    """Show at which revision the database is."""
    _act("current")


@db.command()
def history() -> None:
    """List all revisions, newest first."""
    _act("history")


@db.command()
def check() -> None:
    """Tell whether the database can be reached and is as this AgentVine needs it.

    Exits with 0 when all is well, 7 when it cannot be reached, 1 when something is wrong.
    """
    _act("check")


def _act(name: str, *args: Any, **options: Any) -> None:
    """Run the action of that name; the command ends with its exit code."""
    # lint: allow AV010 (an action needs every model, and --help must not wait for them)
    actions = import_module("agentvine.server.db_actions")
    click.get_current_context().exit(getattr(actions, name)(*args, **options))

"""``agentvine conversation``."""

from pathlib import Path

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, attach_option, limit_option, project_option, yes_option
from agentvine.protocol.conversations import ConversationStatus, ConversationType

_ACTIONS = "agentvine.cli.actions.talks"

_conversation = click.argument("conversation", metavar="CONVERSATION")
_message = click.argument("message", metavar="MESSAGE")
_text = click.argument("text", metavar="TEXT")


@click.group()
def conversation() -> None:
    """Talk with people and agents. One is called by its id, or by its title in a project."""


@conversation.command("list")
@project_option
@click.option("--type", "type_", type=Words(ConversationType), help="What they are about.")
@click.option("--status", type=Words(ConversationStatus), help="Those that are so.")
@limit_option
@runs(f"{_ACTIONS}:list_conversations")
def list_conversations() -> None:
    """List conversations, newest first."""


@conversation.command()
@click.argument("title", metavar="TITLE")
@project_option
@click.option("--type", "type_", type=Words(ConversationType), help="What it is about.")
@click.option("--agent", "agents", metavar="AGENT", multiple=True, help="Who takes part.")
@runs(f"{_ACTIONS}:create")
def create() -> None:
    """Begin a conversation, in a project or of your own."""


@conversation.command()
@_conversation
@project_option
@limit_option
@runs(f"{_ACTIONS}:show")
def show() -> None:
    """Show who takes part, what was said, and what it cost."""


@conversation.command()
@_conversation
@_text
@project_option
@click.option("--reply-to", metavar="MESSAGE", help="The id of the message that this is about.")
@attach_option
@runs(f"{_ACTIONS}:say")
def say() -> None:
    """Say something, in markdown; - reads it. An agent that is mentioned as @name is woken."""


@conversation.command()
@_conversation
@_message
@_text
@project_option
@runs(f"{_ACTIONS}:edit")
def edit() -> None:
    """Say it otherwise; the message is marked as edited."""


@conversation.command()
@_conversation
@_message
@project_option
@yes_option
@runs(f"{_ACTIONS}:delete")
def delete() -> None:
    """Take back what was said, with its files."""


@conversation.command()
@_conversation
@_message
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@project_option
@runs(f"{_ACTIONS}:attach")
def attach() -> None:
    """Attach a file to what you have said."""


@conversation.command()
@_conversation
@click.argument("attachment", metavar="ATTACHMENT")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@project_option
@runs(f"{_ACTIONS}:save")
def save() -> None:
    """Save an attached file, by the id that `show` tells."""


@conversation.command()
@_conversation
@click.argument("status", type=Words(ConversationStatus))
@project_option
@runs(f"{_ACTIONS}:set_status")
def mark() -> None:
    """Let a conversation rest (paused), end (completed), go on (active), or go (archived)."""


@conversation.command()
@_conversation
@click.argument("agent", metavar="AGENT")
@project_option
@click.option("--leave", is_flag=True, help="It takes part no more.")
@runs(f"{_ACTIONS}:join")
def join() -> None:
    """Let an agent take part."""

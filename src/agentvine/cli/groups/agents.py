"""``agentvine agent``."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Words, limit_option, project_option, yes_option
from agentvine.protocol.agents import Effort
from agentvine.protocol.enums import AgentType

F = TypeVar("F", bound=Callable[..., Any])

_ACTIONS = "agentvine.cli.actions.agents"

_type = click.option("--type", "type_", type=Words(AgentType), help="Its role in the team.")


def _set_up(function: F) -> F:
    """How an agent works: for ``create`` and ``edit``."""
    for option in reversed(
        [
            click.option("--runtime", metavar="NAME", help="What drives it."),
            click.option("--model", metavar="MODEL", help="The model, or an alias of one."),
            click.option(
                "--allow",
                "allowed_models",
                metavar="MODEL",
                multiple=True,
                help="A model that it may use; * stands for anything. Can be repeated.",
            ),
            click.option("--effort", type=Words(Effort), help="How hard the model is to think."),
            click.option(
                "--temperature",
                type=click.FloatRange(0, 2),
                metavar="T",
                help="How freely the model chooses its words.",
            ),
            click.option(
                "--max-output", type=click.IntRange(1), metavar="N", help="Tokens in one answer."
            ),
            click.option(
                "--max-turns",
                type=click.IntRange(1),
                metavar="N",
                help="How often it may ask its model in one attempt.",
            ),
            click.option("--prompt", metavar="TEXT", help="Its system prompt; - reads it."),
            click.option(
                "--rules", metavar="PATH", help="A file of the repository with rules to follow."
            ),
        ]
    ):
        function = option(function)
    return function


@click.group()
def agent() -> None:
    """The agents of a team. An agent is called by its name or id."""


@agent.command("list")
@project_option
@_type
@limit_option
@runs(f"{_ACTIONS}:list_agents")
def list_agents() -> None:
    """List the agents you may see."""


@agent.command()
@click.argument("name", metavar="AGENT")
@project_option
@runs(f"{_ACTIONS}:show_agent")
def show() -> None:
    """Show an agent as it is set up now."""


@agent.command()
@click.argument("name", metavar="NAME")
@click.option("--type", "type_", type=Words(AgentType), required=True, help="Its role.")
@project_option
@_set_up
@runs(f"{_ACTIONS}:create_agent")
def create() -> None:
    """Add an agent to a project's team, or (an admin) to all of them."""


@agent.command()
@click.argument("name", metavar="AGENT")
@project_option
@click.option("--name", "new_name", metavar="NAME", help="Another name.")
@_set_up
@click.option("--active/--inactive", default=None, help="Whether it takes new tasks.")
@runs(f"{_ACTIONS}:edit_agent")
def edit() -> None:
    """Set an agent up anew; what is not named stays, and what was can be restored."""


@agent.command()
@click.argument("name", metavar="AGENT")
@project_option
@limit_option
@runs(f"{_ACTIONS}:list_history")
def history() -> None:
    """List how an agent was set up, newest first."""


@agent.command()
@click.argument("name", metavar="AGENT")
@click.argument("revision", type=click.IntRange(1), metavar="REVISION")
@project_option
@runs(f"{_ACTIONS}:restore_agent")
def restore() -> None:
    """Set an agent up as in an earlier revision."""


@agent.command()
@click.argument("name", metavar="AGENT")
@project_option
@yes_option
@runs(f"{_ACTIONS}:remove_agent")
def remove() -> None:
    """Forget an agent and what it remembers."""

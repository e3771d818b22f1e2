"""``agentvine budget`` and ``agentvine usage``."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import Dollars, Words, limit_option, project_option, yes_option
from agentvine.protocol.enums import AgentType, BudgetAction, BudgetPeriod

_ACTIONS = "agentvine.cli.actions.usage"

_threshold = click.option(
    "--alert-at",
    type=click.IntRange(1, 100),
    metavar="PERCENT",
    help="At what share to tell.",
)
_action = click.option(
    "--action",
    type=Words(BudgetAction),
    help="Whether it refuses what does not fit, or only tells.  [default: block]",
)


_tokens = click.option(
    "--tokens", type=click.IntRange(1), metavar="N", help="So many tokens, for logins at no price."
)
_runs = click.option("--runs", type=click.IntRange(1), metavar="N", help="So many attempts.")


@click.group()
def budget() -> None:
    """Budgets: what may be spent in each period. A budget is called by its name or id."""


@budget.command("list")
@limit_option
@runs(f"{_ACTIONS}:list_budgets")
def list_budgets() -> None:
    """List the budgets you may see, and how they stand."""


@budget.command()
@click.argument("name", metavar="BUDGET")
@runs(f"{_ACTIONS}:show_budget")
def show() -> None:
    """Show a budget, and how its present period stands."""


@budget.command()
@click.argument("name", metavar="NAME")
@click.argument("amount", type=Dollars(), metavar="[USD]", required=False)
@_tokens
@_runs
@click.option(
    "--period",
    type=Words(BudgetPeriod),
    default=BudgetPeriod.MONTHLY.value,
    show_default=True,
    help="How often it begins anew.",
)
@project_option
@click.option("--agent", type=click.UUID, metavar="ID", help="What one agent may spend.")
@click.option("--agent-type", type=Words(AgentType), help="What all agents of a role may spend.")
@_action
@_threshold
@runs(f"{_ACTIONS}:create_budget")
def create() -> None:
    """Limit what a project, an agent or a role may use; without one of these, all together."""


@budget.command()
@click.argument("name", metavar="BUDGET")
@click.option("--amount", type=Dollars(), metavar="USD", help="Another amount.")
@_tokens
@_runs
@click.option("--name", "new_name", metavar="NAME", help="Another name.")
@_action
@_threshold
@click.option("--active/--inactive", default=None, help="Whether it is in force.")
@runs(f"{_ACTIONS}:edit_budget")
def edit() -> None:
    """Change a budget, from now on; what is not named stays."""


@budget.command()
@click.argument("name", metavar="BUDGET")
@yes_option
@runs(f"{_ACTIONS}:delete_budget")
def delete() -> None:
    """Limit nothing by a budget any more."""


@click.group()
def call() -> None:
    """Calls to language models, one by one."""


@call.command("list")
@project_option
@click.option("--task", metavar="TASK", help="Only one task's.")
@click.option("--execution", type=click.UUID, metavar="ID", help="Only one attempt's.")
@click.option("--model", metavar="MODEL", help="Only one model's.")
@limit_option
@runs(f"{_ACTIONS}:list_calls")
def list_calls() -> None:
    """List calls, the newest first."""


@call.command("show")
@click.argument("request_id", metavar="REQUEST")
@runs(f"{_ACTIONS}:show_call")
def show_call() -> None:
    """Show what was asked and answered in a call, where the server keeps it.

    It does so when it is started with AGENTVINE_KEEP_CALL_BODIES_DAYS. Secrets are masked.
    """


@click.command()
@click.option(
    "--by",
    type=click.Choice(
        [
            "day",
            "model",
            "project",
            "task",
            "execution",
            "user",
            "agent",
            "agent_type",
            "conversation",
            "message",
        ]
    ),
    default="day",
    show_default=True,
    help="What to sum up by.",
)
@project_option
@click.option("--task", metavar="TASK", help="Only one task's.")
@click.option("--execution", type=click.UUID, metavar="ID", help="Only one attempt's.")
@click.option("--user", metavar="USER", help="Only one person's.")
@click.option("--agent", type=click.UUID, metavar="ID", help="Only one agent's.")
@click.option("--model", metavar="MODEL", help="Only one model's.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="The first day.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="The last day.")
@limit_option
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values.")
@runs(f"{_ACTIONS}:usage")
def usage() -> None:
    """Show what calls to language models used and cost."""

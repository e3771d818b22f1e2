"""The commands, in the order in which one learns them."""

import click

from agentvine import __version__
from agentvine.cli.lazy import Lazy, LazyGroup
from agentvine.cli.options import add_global_options

_GROUPS = "agentvine.cli.groups"

COMMANDS: dict[str, Lazy] = {
    "demo": Lazy(
        f"{_GROUPS}.demo:demo",
        "See the whole job done on a real repository, in under a minute.",
        asks_server=False,
    ),
    "up": Lazy(
        f"{_GROUPS}.server:up", "Start a server with workers, here and now.", asks_server=False
    ),
    "run": Lazy(f"{_GROUPS}.run:run", "Have a job done on a repository, and watch it."),
    "task": Lazy(f"{_GROUPS}.tasks:task", "Tasks: what is to be done."),
    "plan": Lazy(f"{_GROUPS}.plans:plan", "Plans: what shall be built, in versions."),
    "team": Lazy(f"{_GROUPS}.team:team", "Teams of agents: a goal, and who works on it."),
    "logs": Lazy(f"{_GROUPS}.executions:logs", "Show or follow what an attempt prints."),
    "attempts": Lazy(f"{_GROUPS}.executions:attempts", "Compare the attempts at a task."),
    "timeline": Lazy(f"{_GROUPS}.executions:timeline", "Show what happened to an attempt."),
    "inbox": Lazy(f"{_GROUPS}.questions:inbox", "What waits for you: questions, changes."),
    "answer": Lazy(f"{_GROUPS}.questions:answer", "Answer what a run asks."),
    "question": Lazy(f"{_GROUPS}.questions:question", "What runs have asked."),
    "rule": Lazy(f"{_GROUPS}.questions:rule", "What is answered without asking you."),
    "notification": Lazy(
        f"{_GROUPS}.notifications:notification", "What you were told, by mail or here."
    ),
    "modification": Lazy(f"{_GROUPS}.modifications:modification", "Changes, on their way in."),
    "approve": Lazy(f"{_GROUPS}.modifications:approve", "Approve a change, and apply it."),
    "reject": Lazy(f"{_GROUPS}.modifications:reject", "Refuse a change."),
    "blame": Lazy(f"{_GROUPS}.blame:blame", "Tell who wrote a line, and why."),
    "execution": Lazy(f"{_GROUPS}.executions:execution", "Attempts at tasks."),
    "queue": Lazy(f"{_GROUPS}.queue:queue", "What waits, is limited or is paused."),
    "order": Lazy(f"{_GROUPS}.orders:order", "Work orders: tasks in the queue."),
    "worker": Lazy(f"{_GROUPS}.workers:worker", "Be a worker, or see to the workers."),
    "runtime": Lazy(f"{_GROUPS}.runtimes:runtime", "What drives agents, and what it needs."),
    "worktree": Lazy(
        f"{_GROUPS}.worktrees:worktree", "Work trees on this machine.", asks_server=False
    ),
    "repo": Lazy(f"{_GROUPS}.projects:repo", "Repositories the team works on."),
    "context": Lazy(f"{_GROUPS}.contexts:context", "Snapshots of repositories, compared."),
    "project": Lazy(f"{_GROUPS}.projects:project", "Projects and who may see them."),
    "budget": Lazy(f"{_GROUPS}.usage:budget", "What may be spent on language models."),
    "usage": Lazy(f"{_GROUPS}.usage:usage", "What language models used and cost."),
    "call": Lazy(f"{_GROUPS}.usage:call", "Calls to language models, one by one."),
    "agent": Lazy(f"{_GROUPS}.agents:agent", "The agents of a team."),
    "memory": Lazy(f"{_GROUPS}.memories:memory", "What agents remember."),
    "conversation": Lazy(f"{_GROUPS}.conversations:conversation", "Talk with people and agents."),
    "document": Lazy(f"{_GROUPS}.documents:document", "Documents for people and agents."),
    "template": Lazy(
        f"{_GROUPS}.templates:template", "Templates that new repositories are made of."
    ),
    "provider": Lazy(f"{_GROUPS}.providers:provider", "Providers of models, and their keys."),
    "model": Lazy(f"{_GROUPS}.providers:model", "Which models may be used, and by which names."),
    "price": Lazy(f"{_GROUPS}.prices:price", "What models cost, where the table is not right."),
    "login": Lazy(f"{_GROUPS}.identity:login", "Sign in to a server and remember it."),
    "logout": Lazy(f"{_GROUPS}.identity:logout", "Forget a server, and end its token."),
    "whoami": Lazy(f"{_GROUPS}.identity:whoami", "Who the server takes you for."),
    "user": Lazy(f"{_GROUPS}.identity:user", "People."),
    "token": Lazy(f"{_GROUPS}.identity:token", "Tokens for yourself and for workers."),
    "server": Lazy(f"{_GROUPS}.server:server", "Start a server alone.", asks_server=False),
    "gateway": Lazy(f"{_GROUPS}.server:gateway", "Serve calls to models alone.", asks_server=False),
    "db": Lazy(
        "agentvine.server.db_commands:db", "The database: make, upgrade, check.", asks_server=False
    ),
    "openapi": Lazy(f"{_GROUPS}.server:openapi", "Print the API's description.", asks_server=False),
    "scripted-model": Lazy(
        f"{_GROUPS}.models:scripted_model",
        "Serve a model that follows a script.",
        asks_server=False,
    ),
    "mcp": Lazy(f"{_GROUPS}.tools:mcp", "Serve tools to your own assistant (MCP over stdio)."),
    "doctor": Lazy(
        f"{_GROUPS}.doctor:doctor", "Look for what is wrong here, and what was left behind."
    ),
}


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="agentvine", message="%(prog)s %(version)s")
@click.pass_context
def root(ctx: click.Context) -> None:
    """AgentVine gives coding agents work, and brings what they did home safely.

    Start with `agentvine demo`, then `agentvine run "Sort the imports" --repo . --command ...`.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


add_global_options(root, asks_server=True)

"""``agentvine task``."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import (
    Assignments,
    Dollars,
    Moment,
    Span,
    Words,
    limit_option,
    project_option,
    reason_option,
    yes_option,
)
from agentvine.protocol.enums import (
    CapabilityLevel,
    DependencyType,
    PermissionLevel,
    TaskPriority,
    TaskStatus,
    TaskType,
)

F = TypeVar("F", bound=Callable[..., Any])

_ACTIONS = "agentvine.cli.actions.tasks"


def run_options(function: F) -> F:
    """How a task is carried out: for ``task create``, ``task edit`` and ``run``."""
    for option in reversed(
        [
            click.option("--agent", metavar="AGENT", help="Whose work it is."),
            click.option("--command", "-c", metavar="CMD", help="The shell command to run."),
            click.option("--test", "-t", metavar="CMD", help="The command that tests the change."),
            click.option("--timeout", type=click.IntRange(1), metavar="S", help="Seconds to work."),
            click.option(
                "--test-timeout", type=click.IntRange(1), metavar="S", help="Seconds to test."
            ),
            click.option(
                "--retries", type=click.IntRange(0, 100), help="Attempts after the first."
            ),
            click.option("--queue", metavar="NAME", help="The queue to wait in."),
            click.option(
                "--budget", type=Dollars(), metavar="USD", help="What its models may cost in all."
            ),
            click.option(
                "--not-before", type=Moment(), metavar="TIME", help="Not earlier: a time, or +2h."
            ),
            click.option(
                "--expires-in", type=Span(), metavar="TIME", help="Not later than 2h, 3d, ..."
            ),
            click.option(
                "--capability",
                "capabilities",
                type=Assignments(CapabilityLevel),
                multiple=True,
                help="What a worker must know, like python:expert; may be repeated.",
            ),
            click.option(
                "--touches",
                metavar="FILES",
                multiple=True,
                help="What it changes, like src/app.py, docs/ or '**/*.sql'; may be repeated.",
            ),
        ]
    ):
        function = option(function)
    return function


_type = click.option("--type", type=Words(TaskType), help="The kind of work.")
_permission = click.option(
    "--permission", type=Words(PermissionLevel), help="What may happen without a person."
)
_priority = click.option("--priority", type=Words(TaskPriority), help="How soon.")
_description = click.option(
    "--description", "-d", metavar="TEXT", help="What is to be done; - reads it from stdin."
)
_done = click.option("--done", metavar="TEXT", help="How one sees that it is done.")


@click.group()
def task() -> None:
    """Tasks: what is to be done. A task is called T-12, or by its id."""


@task.command("list")
@project_option
@click.option("--repo", metavar="REPO", help="Only those of one repository.")
@click.option("--status", type=Words(TaskStatus), help="Only those that stand there.")
@limit_option
@runs(f"{_ACTIONS}:list_tasks")
def list_tasks() -> None:
    """List tasks, newest first."""


@task.command()
@click.argument("name", metavar="TASK")
@project_option
@runs(f"{_ACTIONS}:show")
def show() -> None:
    """Show a task with its relations, attempts and changes."""


@task.command()
@click.argument("name", metavar="TASK")
@project_option
@limit_option
@runs("agentvine.cli.actions.conversations:talk")
def talk() -> None:
    """Show what a task's runs, people and the server have said about it, oldest first.

    Questions and answers, how it goes, and why an attempt failed.
    """


@task.command()
@click.argument("title")
@click.option("--repo", metavar="REPO", help="The repository to work in: name, path or id.")
@project_option
@_description
@_type
@_permission
@_priority
@click.option("--target", metavar="BRANCH", help="The branch the change goes to.")
@click.option("--runtime", metavar="NAME", help="What carries it out.")
@click.option("--model", metavar="NAME", help="The model an agent uses.")
@run_options
@click.option("--depends-on", metavar="TASK", multiple=True, help="Wait for this task first.")
@click.option("--parent", metavar="TASK", help="The task it is a part of.")
@_done
@click.option("--no-start", is_flag=True, help="Do not queue it yet; see `task start`.")
@click.option("--key", metavar="KEY", help="Creating again with this key makes no second task.")
@runs(f"{_ACTIONS}:create")
def create() -> None:
    """Create a task; it is queued when nothing holds it back."""


@task.command()
@click.argument("name", metavar="TASK")
@project_option
@click.option("--title", metavar="TEXT", help="Another title.")
@_description
@_permission
@_priority
@_done
@click.option("--runtime", metavar="NAME", help="What carries it out.")
@click.option("--model", metavar="NAME", help="The model an agent uses.")
@run_options
@runs(f"{_ACTIONS}:edit")
def edit() -> None:
    """Change a task; what is not named stays."""


@task.command()
@click.argument("names", metavar="TASK...", nargs=-1, required=True)
@project_option
@reason_option
@runs(f"{_ACTIONS}:cancel")
def cancel() -> None:
    """Stop tasks for good, also while they run."""


@task.command()
@click.argument("names", metavar="TASK...", nargs=-1, required=True)
@project_option
@runs(f"{_ACTIONS}:start")
def start() -> None:
    """Queue tasks that wait for somebody to say go."""


@task.command()
@click.argument("names", metavar="TASK...", nargs=-1, required=True)
@project_option
@runs(f"{_ACTIONS}:resume")
def resume() -> None:
    """Let blocked tasks go on, such as those whose budget was used up."""


@task.command()
@click.argument("names", metavar="TASK...", nargs=-1, required=True)
@project_option
@runs(f"{_ACTIONS}:retry")
def retry() -> None:
    """Run failed or cancelled tasks again."""


@task.command()
@click.argument("names", metavar="TASK...", nargs=-1, required=True)
@project_option
@yes_option
@runs(f"{_ACTIONS}:delete")
def delete() -> None:
    """Delete tasks that are not running; their history stays."""


@task.group()
def deps() -> None:
    """What tasks wait for, or relate to."""


@deps.command("list")
@click.argument("name", metavar="TASK")
@project_option
@runs(f"{_ACTIONS}:list_dependencies")
def list_dependencies() -> None:
    """List what a task waits for or relates to."""


@deps.command("add")
@click.argument("name", metavar="TASK")
@click.argument("others", metavar="OTHER...", nargs=-1, required=True)
@click.option(
    "--type", type=Words(DependencyType), default=DependencyType.BLOCKS.value, show_default=True,
    help="Only `blocks` holds a task back.",
)  # fmt: skip
@project_option
@runs(f"{_ACTIONS}:add_dependencies")
def add_dependencies() -> None:
    """Make a task wait for others."""


@deps.command("remove")
@click.argument("name", metavar="TASK")
@click.argument("others", metavar="OTHER...", nargs=-1, required=True)
@project_option
@runs(f"{_ACTIONS}:remove_dependencies")
def remove_dependencies() -> None:
    """Make a task wait for others no longer."""

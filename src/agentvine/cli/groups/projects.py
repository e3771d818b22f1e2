"""``agentvine repo`` and ``agentvine project``."""

import click

from agentvine.cli.lazy import runs
from agentvine.cli.options import F, Span, limit_option, project_option, yes_option

_ACTIONS = "agentvine.cli.actions.projects"


# Named as the fields of a workspace.
_WORKSPACE = (
    click.option(
        "--set-up", "setup_command", metavar="CMD", help="Run in each work tree first; '' for none."
    ),
    click.option(
        "--set-up-limit", "setup_timeout_seconds", type=Span(), metavar="TIME", help="Its time."
    ),
    click.option(
        "--clean-up", "cleanup_command", metavar="CMD", help="Run there at last; '' for none."
    ),
    click.option(
        "--clean-up-limit", "cleanup_timeout_seconds", type=Span(), metavar="TIME", help="Its time."
    ),
    click.option(
        "--cache",
        "cached_paths",
        metavar="PATH",
        multiple=True,
        help="What --set-up makes, like .venv: copied from an earlier run, instead of it.",
    ),
    click.option(
        "--cache-key",
        "cache_key_files",
        metavar="FILE",
        multiple=True,
        help="What --set-up reads, like uv.lock: it runs anew where one differs.",
    ),
    click.option(
        "--submodules",
        type=click.Choice(["refuse", "empty"]),
        help="Whether runs may go without its submodules, with empty folders in their places.",
    ),
    click.option(
        "--large-files",
        type=click.Choice(["refuse", "pointers"]),
        help="Whether runs may go without what git-lfs keeps, with pointers in its place.",
    ),
)


def _workspace(command: F) -> F:
    for option in reversed(_WORKSPACE):
        command = option(command)
    return command


@click.group()
def repo() -> None:
    """Repositories the team works on, called by name, path or id."""


@repo.command("list")
@project_option
@limit_option
@runs(f"{_ACTIONS}:list_repositories")
def list_repositories() -> None:
    """List the repositories you may see."""


@repo.command("show")
@click.argument("name", metavar="REPO")
@project_option
@runs(f"{_ACTIONS}:show_repository")
def show_repository() -> None:
    """Show a repository."""


@repo.command("register")
@click.argument("location", metavar="PATH|URL")
@click.option("--name", metavar="NAME", help="What to call it; the folder's name when left out.")
@project_option
@click.option(
    "--default-branch",
    "--branch",
    "branch",
    metavar="BRANCH",
    help="The default branch, when git's is not meant.",
)
@click.option("--test", "-t", metavar="CMD", help="The command that tests a change.")
@_workspace
@runs(f"{_ACTIONS}:register")
def register() -> None:
    """Register a git repository, by path on the server's machine or by URL."""


@repo.command("edit")
@click.argument("name", metavar="REPO")
@project_option
@click.option("--name", "new_name", metavar="NAME", help="Another name.")
@click.option(
    "--default-branch", "--branch", "branch", metavar="BRANCH", help="Another default branch."
)
@click.option("--test", "-t", metavar="CMD", help="Another test command.")
@click.option("--sandbox/--no-sandbox", default=None, help="Whether its tasks run in a sandbox.")
@click.option(
    "--allow-host",
    "hosts",
    metavar="HOST",
    multiple=True,
    help="Let its sandbox reach only these, like api.example.com or '*.example.com'.",
)
@click.option(
    "--run-limit",
    "limits",
    metavar="NAME=N",
    multiple=True,
    help="What a run may use, like memory_mib=2048, processes, cpu_seconds, file_mib, disk_mib.",
)
@click.option(
    "--overlap",
    type=click.Choice(["on", "off"]),
    help="Whether tasks wait for others that are at work on their files.",
)
@click.option(
    "--trial-merges",
    type=click.Choice(["on", "off"]),
    help="Whether changes that wait are tried on each other, to foresee conflicts.",
)
@_workspace
@runs(f"{_ACTIONS}:edit_repository")
def edit_repository() -> None:
    """Change what is known about a repository."""


@repo.command("conflicts")
@click.argument("name", metavar="REPO")
@project_option
@limit_option
@runs("agentvine.cli.actions.conflicts:list_conflicts")
def list_conflicts() -> None:
    """Show which changes that wait will conflict, with each other or with their target."""


@repo.command("delete")
@click.argument("name", metavar="REPO")
@project_option
@yes_option
@runs(f"{_ACTIONS}:delete_repository")
def delete_repository() -> None:
    """Forget a repository; the repository itself is not touched."""


@click.group()
def project() -> None:
    """Projects, called by name or id, and who may see them."""


@project.command("list")
@limit_option
@runs(f"{_ACTIONS}:list_projects")
def list_projects() -> None:
    """List the projects you may see."""


@project.command("show")
@click.argument("name", metavar="PROJECT")
@runs(f"{_ACTIONS}:show_project")
def show_project() -> None:
    """Show a project with its repositories and members."""


@project.command("create")
@click.argument("name", metavar="NAME")
@click.option("--description", "-d", metavar="TEXT", help="What it is about.")
@click.option("--github", metavar="OWNER/NAME", help="Its repository on GitHub.")
@click.option("--key", metavar="KEY", help="Creating again with this key makes no second one.")
@runs(f"{_ACTIONS}:create_project")
def create_project() -> None:
    """Create a project; you own it."""


@project.command("edit")
@click.argument("name", metavar="PROJECT")
@click.option("--name", "new_name", metavar="NAME", help="Another name.")
@click.option("--description", "-d", metavar="TEXT", help="What it is about.")
@click.option("--github", metavar="OWNER/NAME", help="Its repository on GitHub.")
@click.option("--active/--inactive", default=None, help="Whether work goes on in it.")
@runs(f"{_ACTIONS}:edit_project")
def edit_project() -> None:
    """Change a project; what is not named stays."""


@project.command("delete")
@click.argument("name", metavar="PROJECT")
@yes_option
@runs(f"{_ACTIONS}:delete_project")
def delete_project() -> None:
    """Delete a project with all that is in it; git repositories stay."""


@project.group()
def members() -> None:
    """Who may see a project or work in it, beside its owner and the admins."""


@members.command("list")
@click.argument("name", metavar="PROJECT")
@runs(f"{_ACTIONS}:list_members")
def list_members() -> None:
    """List a project's members."""


@members.command("add")
@click.argument("name", metavar="PROJECT")
@click.argument("username", metavar="USER")
@click.option(
    "--role",
    type=click.Choice(["developer", "viewer"]),
    default="developer",
    show_default=True,
    help="Viewers look, developers also work.",
)
@runs(f"{_ACTIONS}:add_member")
def add_member() -> None:
    """Let somebody in, or change what they may do."""


@members.command("remove")
@click.argument("name", metavar="PROJECT")
@click.argument("username", metavar="USER")
@runs(f"{_ACTIONS}:remove_member")
def remove_member() -> None:
    """Let somebody in no longer."""

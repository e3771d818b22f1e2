"""Help is instant, complete, and says what the commands really take."""

import inspect
import resource
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from agentvine.cli.lazy import load
from agentvine.cli.root import COMMANDS, root
from tests.support.cli import Sandbox

_HEAVY = ("fastapi", "sqlalchemy", "rich", "pydantic", "httpx2", "asyncio", "alembic", "uvicorn")
_SESSION_GIVES = {"session"}


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


ALL = dict(commands(root))
ACTIONS = {
    name: command.callback for name, command in ALL.items() if hasattr(command.callback, "target")
}


def seconds_of(*argv: str) -> float:
    """CPU time, the best of five: what it costs when nobody disturbs it."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *argv], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.mark.parametrize("arguments", [("--help",), ("task", "create", "--help"), ("up", "--help")])
def test_help_costs_little_more_than_python_itself(arguments: tuple[str, ...]):
    bare = seconds_of("-c", "import click")
    ours = seconds_of("-m", "agentvine", *arguments)

    # About 50 ms on an idle machine; the bound leaves room for a busy one.
    assert ours - bare < 0.4


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["run", "--help"], ["logs", "--help"], ["up", "-h"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]):
    program = (
        "import sys; from agentvine.__main__ import PARTS; from agentvine.cli.failures import run\n"
        f"assert run({arguments!r}, PARTS) == 0\n"
        f"print(sorted(set({_HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stderr.strip() == "[]"


def test_the_list_of_commands_comes_without_importing_them(sandbox: Sandbox):
    done = sandbox.run("--help")

    assert done.exit_code == 0
    for name, lazy in COMMANDS.items():
        assert name in done.out
        assert lazy.summary.split()[0] in done.out


def test_alone_it_shows_its_help(sandbox: Sandbox):
    assert sandbox.run().out == sandbox.run("--help").out


@pytest.mark.parametrize("name", ALL)
def test_every_command_explains_itself(name: str):
    result = CliRunner().invoke(root, [*name.split(), "--help"])

    assert result.exit_code == 0
    assert ALL[name].help
    assert [
        option.name
        for option in ALL[name].params
        if isinstance(option, click.Option) and not option.hidden and not option.help
    ] == []


@pytest.mark.parametrize("name", ALL)
def test_every_command_takes_json(name: str):
    assert any("--json" in param.opts for param in ALL[name].params)


@pytest.mark.parametrize("name", ACTIONS)
def test_every_action_takes_what_its_command_gives(name: str):
    action = inspect.signature(load(ACTIONS[name].target))  # type: ignore[union-attr]  # chosen by it
    given = {param.name for param in ALL[name].params if param.expose_value}
    required = {
        parameter.name
        for parameter in action.parameters.values()
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        and parameter.default is inspect.Parameter.empty
    }
    takes_more = any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in action.parameters.values()
    )

    assert required - given == _SESSION_GIVES
    assert takes_more or given <= set(action.parameters)


def test_a_mistyped_command_is_met_with_the_nearest_one(sandbox: Sandbox):
    done = sandbox.run("tas")

    assert done.exit_code == 2
    assert "Did you mean 'task'?" in done.err

"""The repository of the demonstration: the source of a real package, with tests, under git."""

import importlib.metadata
import importlib.util
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from agentvine.config.settings import environment_for_child
from agentvine.kit.errors import Unavailable
from agentvine.kit.process import Captured, capture

PACKAGE = "click"
"""It is there wherever AgentVine is: the command line stands on it."""

_TESTS = '''\
"""A few things that must go on working, whatever happens to the code."""

import importlib
import pkgutil
import unittest

import click
from click.testing import CliRunner


@click.group()
def tool():
    """A tool."""


@tool.command()
@click.option("--count", default=1, type=click.IntRange(1, 9), show_default=True)
@click.argument("name")
def greet(count, name):
    for _ in range(count):
        click.echo(f"Hello, {name}!")


class CommandLineTest(unittest.TestCase):
    def run_tool(self, *arguments):
        return CliRunner().invoke(tool, arguments)

    def test_a_command_runs_with_its_options(self):
        result = self.run_tool("greet", "--count", "2", "Ada")
        self.assertEqual(result.output, "Hello, Ada!\\nHello, Ada!\\n")
        self.assertEqual(result.exit_code, 0)

    def test_a_wrong_value_is_a_usage_error(self):
        result = self.run_tool("greet", "--count", "99", "Ada")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("1<=x<=9", result.output)

    def test_an_unknown_command_is_named(self):
        result = self.run_tool("grete")
        self.assertEqual(result.exit_code, 2)
        self.assertIn("grete", result.output)

    def test_the_help_lists_the_commands(self):
        self.assertIn("greet", self.run_tool("--help").output)


class PackageTest(unittest.TestCase):
    def modules(self):
        for info in pkgutil.iter_modules(click.__path__):
            if info.name != "_winconsole":
                yield importlib.import_module(f"click.{info.name}")

    def test_every_module_can_be_imported(self):
        self.assertGreater(len(list(self.modules())), 10)

    def test_every_declared_name_is_there(self):
        for module in self.modules():
            for name in getattr(module, "__all__", ()):
                self.assertTrue(hasattr(module, name), f"{module.__name__}.{name}")


if __name__ == "__main__":
    unittest.main()
'''


class StageNotSet(Unavailable):
    """The repository for the demonstration could not be made."""

    code = "stage_not_set"


@dataclass(frozen=True, slots=True)
class Stage:
    """A repository ready to be worked on."""

    path: Path
    package: str
    version: str
    file_count: int
    line_count: int
    test_command: str

    def tool(self, name: str, *arguments: str) -> str:
        """The command line of one of the demonstration's tools."""
        words = [sys.executable, "-m", "agentvine.cli.demo.tools", name, f"src/{self.package}"]
        return shlex.join([*words, *arguments])


async def set_stage(folder: Path) -> Stage:
    """Copy the package's source, add tests, and commit it all as the first commit of main.

    Raises:
        StageNotSet: Git is missing or did not like it, or the source cannot be read.
    """
    path = folder / PACKAGE
    target = path / "src" / PACKAGE
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise StageNotSet(f"The source of {PACKAGE} is not to be found in this installation.")
    source = Path(spec.submodule_search_locations[0])
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    (path / "tests").mkdir()
    (path / "tests" / f"test_{PACKAGE}.py").write_text(_TESTS, encoding="utf-8")
    (path / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    version = importlib.metadata.version(PACKAGE)
    await _git(path, "init", "--quiet", "--initial-branch=main")
    await _git(path, "add", "--all")
    await _git(path, "commit", "--quiet", "--no-verify", "-m", f"{PACKAGE} {version}, with tests")
    files = sorted(target.rglob("*.py"))
    python = shlex.quote(sys.executable)
    return Stage(
        path=path,
        package=PACKAGE,
        version=version,
        file_count=len(files),
        line_count=sum(len(file.read_bytes().splitlines()) for file in files),
        test_command=(
            f"{python} -m compileall -q src && PYTHONPATH=src {python} -m unittest discover tests"
        ),
    )


async def history(stage: Stage) -> list[str]:
    """The commits of main, newest first."""
    result = await _git(stage.path, "log", "--oneline", "--first-parent", "main")
    return result.stdout.decode().splitlines()


async def total_change(stage: Stage) -> str:
    """What all changes together did to main."""
    result = await _git(stage.path, "log", "--format=%H", "--max-parents=0", "main")
    first = result.stdout.decode().split()[0]
    return (await _git(stage.path, "diff", "--shortstat", first, "main")).stdout.decode().strip()


async def run_tests(stage: Stage) -> Captured:
    """Run the repository's tests on what main holds now."""
    return await capture(
        ["/bin/sh", "-c", stage.test_command],
        cwd=stage.path,
        environment=environment_for_child(),
        timeout_seconds=60,
    )


async def _git(path: Path, *arguments: str) -> Captured:
    identity = {"NAME": "AgentVine demo", "EMAIL": "demo@agentvine.invalid"}
    environment = environment_for_child() | {
        # The owner's configuration may sign commits or run hooks; this is nobody's repository.
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER")
           for what, text in identity.items()},
    }  # fmt: skip
    result = await capture(["git", *arguments], cwd=path, environment=environment)
    if result.exit_code:
        said = result.stderr.decode(errors="replace").strip()
        raise StageNotSet(f"`git {arguments[0]}` says: {said}")
    return result

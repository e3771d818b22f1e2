"""From a template to a registered repository with a plan, and back to a template, at a terminal."""

import subprocess
import sys
from pathlib import Path

from tests.cli.conftest import Cli
from tests.support.repositories import Repo


def test_a_template_becomes_a_repository_and_a_repository_a_template(cli: Cli, tmp_path: Path):
    folder, name = tmp_path / "pea-counter", f"own-{tmp_path.name.replace('_', '-')}"
    shown = cli.ok("template", "show", "python-cli").out
    missing = cli("template", "render", "python-cli", str(folder))
    given = ("--var", "name=pea-counter", "--var", "description=Counts = and peas.")
    made = cli.ok("template", "render", "python-cli", str(folder), *given, "--plan", "grow")
    again = cli("template", "render", "python-cli", str(folder), *given)

    assert "name: what the tool is called (needed" in shown
    assert (missing.exit_code, "what the tool is called" in missing.err) == (2, True)
    assert (again.exit_code, "is not empty" in again.err) == (5, True)
    assert "the plan grow is a draft" in made.out
    repo = Repo(folder)
    assert repo.status() == ""
    assert 'description = "Counts = and peas."' in repo.show(repo.head, "pyproject.toml")
    registered = cli.ok("repo", "show", str(folder), "--json").json
    assert registered["test_command"] == "python -m pytest -q"
    assert cli.ok("plan", "list", "--repo", str(folder), "--json").json[0]["name"] == "grow"
    _round_trip(cli, repo, name, tmp_path)


def _round_trip(cli: Cli, repo: Repo, name: str, tmp_path: Path) -> None:
    replacing = ("--replace", "pea-counter=name", "--replace", "pea_counter=package")
    created = cli.ok("template", "create", name, "--from", str(repo.path), *replacing, "--tag", "x")
    nowhere = cli("template", "create", f"{name}-2", "--from", str(repo.path), "--replace", "qx=a")
    file, folder = tmp_path / "own.yaml", tmp_path / "bean-counter"
    cli.ok("template", "export", name, str(file))
    taken = cli("template", "import", str(file))
    replaced = cli.ok("template", "import", str(file), "--replace")
    values = ("--var", "name=bean-counter", "--var", "package=bean_counter")
    cli.ok("template", "render", name, str(folder), *values)
    found = cli.ok("template", "search", name, "--tag", "x", "--json").json
    cli.ok("template", "delete", name, "--yes")

    assert "pea_counter became package" in created.err
    assert (nowhere.exit_code, "qx stands nowhere" in nowhere.err) == (2, True)
    assert (taken.exit_code, "--replace" in taken.err) == (5, True)
    assert f"{name} is at version 1" in replaced.out, "nothing has changed"
    assert [row["required_vars"] for row in found] == [["name", "package"]]
    assert cli("template", "show", name).exit_code == 4
    program = [sys.executable, "-m", "bean_counter", "count", "README.md"]
    ended = subprocess.run(
        program, cwd=folder, env={"PYTHONPATH": "src"}, capture_output=True, check=True
    )
    assert b"README.md" in ended.stdout

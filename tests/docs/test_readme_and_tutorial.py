"""Every command of the README and the tutorial does what the text says, as a reader types it."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.documents import ROOT, Step, Terminal
from tests.support.repositories import Repo, make_repo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

# The suite is collected, all of it, but not run within itself.
COLLECT_ONLY = {"PYTEST_ADDOPTS": "--collect-only --quiet --numprocesses=0"}
UNSORTED = "import sys\nimport os\n\nassert os and sys\n"


def test_the_readme(
    terminal: Terminal, tmp_path: Path, new_postgres_database: Callable[[str | None], str]
):
    repo = make_repo(tmp_path / "repo")
    repo.commit({"tool.py": UNSORTED, "test_tool.py": "def test_it():\n    import tool\n"})
    sandbox = terminal.sandbox

    def waiting_change() -> str:
        task = ("Add a file", "--repo", str(repo.path), "--command", "touch new.txt")
        done = sandbox.run("run", *task, "--json")
        return done.json["modification"]["id"]

    def url() -> str:
        return re.findall(r"serves (\S+?)\.?\n", terminal.outputs["agentvine server"])[0]

    def password() -> str:
        return re.findall(r"password (\S+)", terminal.outputs["agentvine server"])[0] + "\n"

    def token() -> str:
        return re.findall(r"\bavw_\S+", terminal.outputs["agentvine login"])[0]

    database = new_postgres_database(None).replace("+asyncpg", "")
    terminal.follow(
        ROOT / "README.md",
        {
            "agentvine demo": Step(left_out="tests/e2e/test_demo.py runs it, and looks closer"),
            "uv run pytest": Step(environment=COLLECT_ONLY),
            'run "Sort the imports"': Step(fill={"PATH": str(repo.path)}),
            "agentvine up": Step(fill={"up": "up --port 0"}, starts="serves http"),
            "agentvine approve": Step(fill={"MODIFICATION": waiting_change}),
            "agentvine db setup": Step(
                fill={"postgresql://user:password@host:5432/agentvine": f"'{database}'"}
            ),
            "agentvine server": Step(
                fill={"0.0.0.0": "127.0.0.1", "8420": "0"}, starts="password (.+)\n"
            ),
            "agentvine login": Step(fill={"URL": url}, stdin=password),
            "agentvine worker": Step(fill={"URL": url, "TOKEN": token}, starts="worker.registered"),
        },
    )

    assert repo.git("show", "main:tool.py").startswith("import os\nimport sys")
    assert (repo.path / "new.txt").exists()
    assert re.search(r"\d{3,} tests collected", terminal.outputs["uv run pytest"])


def test_the_tutorial(terminal: Terminal, tmp_path: Path):
    repo = Repo(tmp_path / "greeter")
    terminal.follow(
        ROOT / "docs" / "tutorial" / "first-task.md",
        {
            "agentvine demo": Step(left_out="tests/e2e/test_demo.py runs it, and looks closer"),
            "activate": Step(fill={".venv": sys.prefix}),
            "mkdir": Step(fill={"../greeter": str(repo.path)}),
            "agentvine up": Step(fill={"up": "up --port 0"}, starts="serves http"),
            "Remove unused imports": Step(),
            "modification show": Step(),
            "agentvine approve": Step(),
            "agentvine task show": Step(),
            "--depends-on": Step(),
            "agentvine task start": Step(),
            "Shout": Step(exit_code=1),
            "git show": Step(),
            "modification revert": Step(),
            "agentvine doctor": Step(before=terminal.close),
        },
    )
    said = terminal.outputs

    assert "the change waits for approval" in said["Remove unused imports"]
    assert "-import os" in said["modification show"]
    assert "Remove unused imports (T-1)" in said["agentvine approve"]
    assert "1 passed" in said["agentvine task show"]
    assert re.search(r"T-3 .*blocked.* waits for T-2", said["--depends-on"])
    assert re.search(r"refs/agentvine/rescue/\S+", said["Shout"])
    assert "greeter.py" in said["git show"]
    assert '+    return "Good day, " + name + "!!!"' in said["git show"]
    assert repo.git("show", "main:greeter.py").count("Hello") == 1

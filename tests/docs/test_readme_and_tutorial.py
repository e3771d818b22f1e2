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


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_tutorial_from_a_template_to_merged_changes(
    kind: str,
    terminal: Terminal,
    tmp_path: Path,
    new_postgres_database: Callable[[str | None], str],
):
    lab = tmp_path / "bakery-lab"
    database = {}
    if kind == "postgres":
        url = new_postgres_database(None).replace("+asyncpg", "")
        database = {"AGENTVINE_DATABASE_URL": url}
    said = terminal.outputs

    def port() -> str:
        return re.findall(r"http://127\.0\.0\.1:(\d+)", said["scripted-model"])[0]

    terminal.follow(
        ROOT / "docs" / "tutorial" / "from-template-to-merge.md",
        {
            "activate": Step(fill={".venv": sys.prefix, "../bakery-lab": str(lab)}),
            "agentvine up": Step(
                fill={"up": "up --port 0"}, starts="serves http", environment=database
            ),
            "template search": Step(),
            "template render static-site": Step(),
            "script.yaml <<": Step(),
            "scripted-model": Step(fill={"8431": "0"}, starts="http://.+\n"),
            "provider add": Step(fill={"8431": port}),
            "We need a page": Step(),
            "plan preview": Step(),
            "plan accept": Step(),
            "agentvine approve": Step(),
            "log --oneline --graph": Step(),
            "agentvine blame": Step(),
            "template create": Step(),
        },
    )
    repo = Repo(lab / "bakery")

    assert "static-site" in said["template search"]
    assert "Begin with the template static-site" in said["template render static-site"]
    assert "Shall I let the page merge by itself?" in said["We need a page"]
    assert "proposes implementation_steps" in said["We need a page"]
    assert "Link it from the first page" in said["plan preview"]
    assert re.search(r"T-1 .*completed", said["agentvine approve"])
    assert '<li><a href="prices.html">' in said["agentvine approve"]
    assert "Write the page of prices (T-1)" in said["log --oneline --graph"]
    assert "opening" in said["agentvine blame"]
    assert 'href="prices.html"' in repo.git("show", "main:site/index.html")
    assert "The Brewery" in (lab / "brewery" / "site" / "index.html").read_text()
    if kind == "sqlite":
        start_from_a_template(terminal)


def start_from_a_template(terminal: Terminal) -> None:
    """The how-to, for whom a server runs already."""
    terminal.follow(
        ROOT / "docs" / "how-to" / "start-from-a-template.md",
        {
            "template list": Step(),
            "template render": Step(),
            "template create": Step(),
            "template import": Step(),
            "template delete": Step(),
        },
    )
    said = terminal.outputs
    assert "what the service is called (needed" in said["template list"]
    assert "registered as orders" in said["template render"]
    assert "orders became name" in said["template create"]
    assert "our-service is at version 1" in said["template import"]
    assert "our-service is removed" in said["template delete"]

"""What the guide to changes says can be typed as it stands."""

import re
import shlex

from tests.cli.conftest import Cli
from tests.support.cli import wait_until
from tests.support.documents import ROOT
from tests.support.repositories import Repo


def wait_for_review(cli: Cli, task: str) -> None:
    wait_until(
        lambda: cli.ok("task", "show", task, "--json").json["status"] == "review",
        "the run to end",
        seconds=120,
    )


def test_the_guide_to_changes(cli: Cli, repository: Repo):
    place = str(repository.path)
    cli.ok("repo", "register", place)
    guide = (ROOT / "docs" / "how-to" / "change-what-is-there.md").read_text()
    lines = [
        line
        for block in re.findall(r"(?ms)^```sh\n(.*?)^```$", guide)
        for line in block.split("\n")
    ]
    given, outputs = {"shop": place}, dict[str, str]()
    for line in filter(None, lines):
        program, *words = shlex.split(line)
        assert program == "agentvine"
        told = cli.ok(*(given.get(word, word) for word in words)).out
        outputs[" ".join(words[:3])] = told
        if words[1] == "request":
            given["MODIFICATION"] = told.split()[1]
        if words[:2] == ["modification", "approve"]:
            row = cli.ok("modification", "show", given["MODIFICATION"], "--json").json
            given["T-12"] = row["task_id"]
            wait_for_review(cli, row["task_id"])

    asked = outputs["modification request Let app.py say who it greets"]
    assert re.search(r"likely +src/app.py \(", asked)
    assert given["MODIFICATION"] in outputs["modification list --status"]
    assert "approved; T-1 is " in outputs["modification approve MODIFICATION"]
    assert re.search(r"hit +src/app.py", outputs["modification impact T-12"])
    assert "applied" in outputs["approve T-12"]
    assert "name = 1" in outputs["blame src/app.py:4 --repo"]
    assert "Let app.py say who it greets" in outputs["blame src/app.py:4 --repo"]


def test_of_a_request_whose_task_failed_it_is_told_that_no_change_came(cli: Cli, repository: Repo):
    cli.ok("repo", "register", str(repository.path))
    asked = ("modification", "request", "Let app.py greet", "--repo", str(repository.path))
    made = cli.ok(*asked, "--command", "exit 3", "--json").json
    cli.ok("modification", "approve", made["id"])
    wait_until(
        lambda: cli.ok("modification", "show", made["id"], "--json").json["status"] == "failed",
        "the run to fail",
        seconds=120,
    )
    told = cli.ok("modification", "show", made["id"]).out
    assert re.search(r"there is +a task without a change; `agentvine task retry`", told)

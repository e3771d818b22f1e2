"""A budget that is used up past the gateway ends the run; the task goes on when it is raised."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.support.repositories import Repo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = """
steps:
  - write: {path: half.txt, text: "half of it"}
  - usage: {model: sonnet, input_tokens: 1000, output_tokens: 50, cost_usd: 0.3}
  - usage: {model: sonnet, input_tokens: 3000, output_tokens: 90, cost_usd: 0.6}
  - hang: true
resumed_steps:
  - usage: {model: sonnet, input_tokens: 10, output_tokens: 5, cost_usd: 0.1}
  - finish: done
"""


def until(look: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)
    return seen


def test_a_run_that_spends_more_than_its_budget_is_ended_and_goes_on_after_a_raise(
    cli: Cli, repository: Repo
):
    cli.ok("repo", "register", str(repository.path))
    made = cli.ok(
        "task", "create", "Spend", "--repo", repository.path.name, "--runtime", "scripted",
        "--command", SCRIPT, "--budget", "0.50", "--json",
    ).json  # fmt: skip
    task = made["id"]

    def stands(*words: str) -> Callable[[], Any]:
        def look() -> Any:
            found = cli.ok("task", "show", task, "--json").json
            return found if found["status"] in words else None

        return look

    blocked = until(stands("blocked", "failed", "completed"))
    assert blocked["status"] == "blocked", blocked
    assert "a budget is used up" in blocked["status_reason"]
    assert blocked["total_cost_usd"] == "0.600000"
    why = cli.ok("order", "why", task, "--json").json
    assert [reason["code"] for reason in why["reasons"]] == ["budget_used_up"]
    [run] = cli.ok("usage", "--by", "execution", "--task", task, "--json").json["rows"]
    assert (run["tokens_in"], run["tokens_out"]) == (3000, 90)

    cli.ok("task", "edit", task, "--budget", "5")
    after = until(stands("review", "completed", "failed"))

    assert after["status"] in {"review", "completed"}, after
    # What the first attempt wrote is in the change of the second, which wrote nothing.
    assert "half of it" in cli.ok("modification", "diff", task).out
    assert after["total_cost_usd"] == "0.700000"

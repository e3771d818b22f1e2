"""A supervised change waits for a person: one that says yes, and one that says no."""

from tests.support.cli import Sandbox
from tests.support.repositories import Repo


def test_a_supervised_change_waits_until_it_is_approved(team: Sandbox, repo: Repo):
    before = repo.head

    waiting = team.run(
        *("run", "Add a word", "--repo", str(repo.path), "--command", "echo word > word.txt"),
        "--json",
    )

    assert waiting.exit_code == 0, waiting
    assert waiting.json["outcome"] == "review"
    assert repo.head == before, "nothing is merged yet"
    change = waiting.json["modification"]["id"]
    assert "+word" in team.run("modification", "diff", change).out

    approved = team.run("approve", change, "--reason", "looks right")
    assert approved.exit_code == 0, approved
    assert repo.head in approved.out
    assert repo.show("main", "word.txt") == "word"
    shown = team.run("task", "show", waiting.json["id"], "--json").json
    assert shown["status"] == "completed"
    again = team.run("approve", change)
    assert again.exit_code == 5, "it is decided already"


def test_a_change_that_is_rejected_is_not_merged_but_kept(team: Sandbox, repo: Repo):
    before = repo.head

    waiting = team.run(
        *("run", "Add a word", "--repo", str(repo.path), "--command", "echo word > word.txt")
    )

    assert waiting.exit_code == 0
    assert "waits for approval" in waiting.out
    [advice] = [line.split(":", 1)[1] for line in waiting.out.splitlines() if "reject:" in line]
    program, *arguments = advice.split()
    assert program == "agentvine"
    rejected = team.run(*arguments)
    assert rejected.exit_code == 0, "the advice can be typed as it stands"
    ref = rejected.out.split()[-1]
    assert repo.show(ref, "word.txt") == "word"
    assert repo.head == before

"""Runs that do nothing, fail, or take too long: each says so and ends with its code."""

from tests.support.cli import Sandbox
from tests.support.repositories import Repo


def test_a_command_that_changes_nothing_is_done_and_says_so(team: Sandbox, repo: Repo):
    before = repo.head

    done = team.run("run", "Look around", "--repo", str(repo.path), "-c", "ls", "--json")

    assert done.exit_code == 0, done
    assert done.json["outcome"] == "unchanged"
    assert done.json["modification"] is None
    assert repo.head == before


def test_a_command_that_fails_ends_with_1_and_its_last_words(team: Sandbox, repo: Repo):
    done = team.run(
        *("run", "Fail", "--repo", str(repo.path)),
        *("--command", "echo half > half.txt; echo 'no such thing' >&2; exit 7"),
        *("--retries", "0"),
    )

    assert done.exit_code == 1, done
    assert "exit code" in done.out
    assert "It last said: no such thing" in done.out
    [kept] = [line for line in done.out.splitlines() if "work kept on" in line]
    assert repo.show(kept.split()[-1], "half.txt") == "half"


def test_a_command_that_takes_too_long_is_ended(team: Sandbox, repo: Repo):
    done = team.run(
        *("run", "Sleep", "--repo", str(repo.path), "--command", "echo x > x.txt; sleep 600"),
        *("--timeout", "1", "--retries", "0", "--json"),
    )

    assert done.exit_code == 1, done
    assert done.json["outcome"] == "failed"
    assert done.json["execution"]["status"] == "timeout"
    assert "1 s" in done.json["status_reason"]
    assert not [command for command in team.processes() if command == "sleep 600"]

"""Somebody else was faster: a change that no longer fits is not forced in."""

import os
from pathlib import Path

from tests.support.cli import Sandbox
from tests.support.repositories import Repo


def test_a_conflict_with_what_was_merged_meanwhile_names_the_files(
    team: Sandbox, repo: Repo, tmp_path: Path
):
    repo.commit({"list.txt": "one\n", "other.txt": "o\n"})
    go_on, begun = tmp_path / "go", tmp_path / "begun"
    os.mkfifo(go_on)
    running = team.start(
        *("run", "Mine", "--repo", str(repo.path), "--permission", "autonomous", "--json"),
        *("--command", f"echo mine > list.txt; touch {begun}; read word < {go_on}"),
    )
    assert running.stdout is not None
    while not begun.exists():
        assert running.poll() is None, running.stdout.read()
    theirs = repo.commit({"list.txt": "theirs\n"}, "They were faster")
    go_on.write_text("on\n")
    out = running.stdout.read()
    running.stdout.close()

    assert running.wait(timeout=60) == 1, out
    assert repo.head == theirs, "nothing is merged"
    assert repo.show("main", "list.txt") == "theirs"
    assert '"not_applied"' in out
    assert "list.txt" in out
    assert "other.txt" not in out


def test_what_was_merged_meanwhile_elsewhere_is_no_conflict(
    team: Sandbox, repo: Repo, tmp_path: Path
):
    first = team.run(
        "run", "First", "--repo", str(repo.path), "--command", "echo 1 > first.txt", "--json"
    ).json
    second = team.run(
        "run", "Second", "--repo", str(repo.path), "--command", "echo 2 > second.txt", "--json"
    ).json

    for each in (first, second):
        assert team.run("approve", each["modification"]["id"]).exit_code == 0

    assert {"first.txt", "second.txt"} <= set(repo.files("main"))

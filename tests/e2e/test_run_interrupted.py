"""Ctrl-C while a run is watched: it is clear what becomes of the task."""

import sys
from pathlib import Path

from tests.support.cli import Sandbox, wait_until
from tests.support.repositories import Repo
from tests.support.terminal import CTRL_C, Terminal


def run_at_terminal(sandbox: Sandbox, repo: Repo, command: str) -> Terminal:
    argv = ["run", "Long", "--repo", str(repo.path), "--command", command]
    return Terminal(
        [sys.executable, "-m", "agentvine", *argv],
        environment=sandbox.environment,
        cwd=sandbox.folder,
    )


def test_with_a_server_of_its_own_the_task_is_cancelled_and_nothing_runs_on(
    sandbox: Sandbox, repo: Repo, tmp_path: Path
):
    begun = tmp_path / "begun"
    command = f"echo work > work.txt; touch {begun}; sleep 600"
    with run_at_terminal(sandbox, repo, command) as terminal:
        wait_until(begun.exists, "the command to run", seconds=90)
        terminal.press(CTRL_C)

        assert terminal.end() == 130, terminal.drawn
        assert "cancelling" in terminal.drawn
        assert "Traceback" not in terminal.drawn
    assert sandbox.processes() == []
    with sandbox.up("--workers", "0"):
        [task] = sandbox.run("task", "list", "--json").json
        assert task["status"] == "cancelled"
        assert task["status_reason"] == "interrupted"
    looked = sandbox.run("doctor", "--json")
    assert looked.exit_code == 0, looked.out


def test_with_a_server_that_stays_the_task_goes_on_and_one_is_told_how_to_follow_it(
    team: Sandbox, repo: Repo, tmp_path: Path
):
    begun, go_on = tmp_path / "begun", tmp_path / "go"
    command = f"touch {begun}; while ! test -e {go_on}; do sleep 0.05; done"
    with run_at_terminal(team, repo, command) as terminal:
        wait_until(begun.exists, "the command to run", seconds=90)
        terminal.press(CTRL_C)

        assert terminal.end() == 130, terminal.drawn
        assert "goes on without this command" in terminal.drawn
    advice = terminal.drawn.partition("Follow it with `")[2].partition("`")[0]
    go_on.touch()
    followed = team.run(*advice.split()[1:])
    assert followed.exit_code == 0, (advice, followed)
    assert "[completed" in followed.err

"""What one sees: a moving line at a terminal, plain lines elsewhere, and no colour unasked."""

import sys

from tests.support.cli import Sandbox
from tests.support.repositories import Repo
from tests.support.terminal import Terminal

COMMAND = "for i in 1 2 3; do echo 'a line that is too long for this terminal' $i; done; sleep 1"


def watch(team: Sandbox, repo: Repo, *more: str, **environment: str) -> str:
    argv = ["run", "A title that is too long for this", "--repo", str(repo.path), "-c", COMMAND]
    with Terminal(
        [sys.executable, "-m", "agentvine", *argv, *more],
        environment=team.environment | environment,
        cwd=team.folder,
        columns=44,
    ) as terminal:
        assert terminal.end() == 0, terminal.drawn
        return terminal.drawn


def test_at_a_terminal_the_state_moves_and_the_result_stays(team: Sandbox, repo: Repo):
    drawn = watch(team, repo)

    assert "\x1b[?25l" in drawn, "the cursor is hidden while it moves"
    assert "\x1b[?25h" in drawn[drawn.rindex("\x1b[?25l") :], "and is back at the end"
    assert " · running · " in drawn
    assert "│ a line that is too long" in drawn
    frames = drawn.split("\x1b[2K")
    heads = [frame for frame in frames if " · running · " in frame]
    assert all("A title" in head and "…" in head for head in heads)
    assert "done; there was nothing to change" in drawn.rsplit("\x1b[2K", 1)[-1]


def test_without_colour_there_is_none(team: Sandbox, repo: Repo):
    drawn = watch(team, repo, NO_COLOR="1")

    assert "done; there was nothing to change" in drawn
    assert "\x1b[3" not in drawn, "no colour"


def test_with_json_nothing_moves_at_a_terminal_either(team: Sandbox, repo: Repo):
    drawn = watch(team, repo, "--json")

    assert "\x1b" not in drawn
    assert '"outcome": "unchanged"' in drawn


def test_elsewhere_it_is_plain_lines(team: Sandbox, repo: Repo):
    done = team.run("run", "Plain", "--repo", str(repo.path), "-c", "echo hello")

    assert done.exit_code == 0
    assert "\x1b" not in done.out + done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("[00:00] T-")
    assert [line for line in lines if line.endswith("attempt 1 begins")]
    assert "        | hello" in lines

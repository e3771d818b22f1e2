"""A change whose tests are red gets nowhere, and is not lost."""

from tests.e2e.conftest import TESTS
from tests.support.cli import Sandbox
from tests.support.repositories import Repo

BREAK = "echo 'raise RuntimeError(1)' >> src/structlog/processors.py; echo new > kept.txt"


def test_red_tests_end_with_1_and_the_work_stays_on_a_rescue_ref(team: Sandbox, repo: Repo):
    before = repo.head

    done = team.run(
        *("run", "Break it", "--repo", str(repo.path), "--command", BREAK),
        *("--test", TESTS, "--permission", "autonomous", "--retries", "0"),
    )

    assert done.exit_code == 1, done
    assert repo.head == before, "nothing is merged"
    assert repo.status() == ""
    [kept] = [line for line in done.out.splitlines() if "work kept on" in line]
    ref = kept.split()[-1]
    assert ref.startswith("refs/agentvine/rescue/")
    assert repo.show(ref, "kept.txt") == "new"
    assert "RuntimeError(1)" in repo.show(ref, "src/structlog/processors.py")
    assert repo.parents(ref) == [before]
    assert f"git show {ref}" in done.out, "the user is told how to look"

    task = next(word for word in done.out.split() if word.startswith("T-"))
    # Every repository has a T-1: in its folder, its own is meant.
    printed = team.run("logs", task, cwd=repo.path)
    assert printed.exit_code == 0
    assert "RuntimeError: 1" in printed.out + printed.err
    tried_again = team.run("task", "retry", task, cwd=repo.path)
    assert tried_again.exit_code == 0, "as the advice says"
    # It may have failed again already.
    assert team.run("task", "cancel", task, cwd=repo.path).exit_code in (0, 5)

"""`agentvine run` on an empty machine: from a sentence to a merge, and nothing stays behind."""

from tests.e2e.conftest import SORT_IMPORTS, TESTS
from tests.support.cli import Sandbox
from tests.support.repositories import Repo


def test_an_autonomous_change_with_green_tests_is_merged(sandbox: Sandbox, repo: Repo):
    before = repo.head

    done = sandbox.run(
        *("run", "Sort the imports", "--repo", str(repo.path), "--runtime", "command"),
        *("--command", SORT_IMPORTS, "--test", TESTS, "--permission", "autonomous"),
    )

    assert done.exit_code == 0, done
    assert "done, and merged" in done.out
    assert "2 tests passed" in done.out
    assert repo.head in done.out, "the merge is named"
    assert repo.git("log", "-1", "--format=%s") == "Sort the imports (T-1)"
    assert repo.parents("main")[0] == before
    changed = repo.git("diff", "--name-only", before, "main").splitlines()
    assert changed
    assert all(name.startswith("src/structlog/") for name in changed)
    assert f"{len(changed)} files changed" in done.out
    assert repo.status() == "", "the work tree of the user follows"
    said = [line for line in done.out.splitlines() if "|" in line]
    began, tested = (
        next(index for index, line in enumerate(said) if word in line)
        for word in ("Running:", "Testing:")
    )
    fixed = [index for index, line in enumerate(said) if "Fixing" in line]
    assert fixed
    assert began < fixed[0] <= fixed[-1] < tested, "lines are shown in the order they came"

    assert sandbox.processes() == []
    assert repo.git("worktree", "list").count("\n") == 0
    looked = sandbox.run("doctor", "--json")
    assert looked.exit_code == 0, looked
    assert [each for each in looked.json["findings"] if not each["is_good"]] == []

"""`agentvine run --no-wait`: hand it over and leave."""

from tests.support.cli import Sandbox, wait_until
from tests.support.repositories import Repo


def test_without_waiting_the_task_goes_on_by_itself(team: Sandbox, repo: Repo):
    done = team.run(
        *("run", "Later", "--repo", str(repo.path), "--command", "echo 1 > later.txt"),
        *("--permission", "autonomous", "--no-wait"),
    )

    assert done.exit_code == 0, done
    [advice] = [part for part in done.out.split("`") if part.startswith("agentvine logs")]
    followed = team.run(*advice.split()[1:])
    assert followed.exit_code == 0, followed
    assert "[completed" in followed.err
    wait_until(lambda: "later.txt" in repo.files("main"), "the merge", seconds=60)


def test_without_waiting_a_server_must_be_there(sandbox: Sandbox, repo: Repo):
    done = sandbox.run("run", "Later", "--repo", str(repo.path), "-c", "true", "--no-wait")

    assert done.exit_code == 2
    assert "agentvine up" in done.err
    assert not (sandbox.data_dir / "agentvine.db").exists(), "nothing was begun"

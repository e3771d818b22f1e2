"""A repository elsewhere, reached by HTTPS: from its address to the merge that is pushed there."""

from pathlib import Path

import pytest

from tests.e2e.conftest import SORT_IMPORTS, TESTS
from tests.support.cli import Sandbox
from tests.support.git_server import PASSWORD, running_git_server, write_netrc
from tests.support.repositories import Repo


@pytest.fixture
def hosted(repo: Repo, tmp_path: Path) -> Repo:
    """The repository as a server keeps it: bare, and open to pushes."""
    path = tmp_path / "hosted" / "structlog.git"
    repo.git("clone", "-q", "--bare", repo.path, path)
    bare = Repo(path)
    bare.git("config", "http.receivepack", "true")
    return bare


@pytest.mark.parametrize("is_private", [False, True], ids=["public", "private"])
def test_a_change_of_a_repository_behind_https_is_merged_there(
    hosted: Repo, tmp_path: Path, *, is_private: bool
):
    before = hosted.git("rev-parse", "main")
    with running_git_server(hosted.path.parent, tmp_path, is_private=is_private) as server:
        authority = {"SSL_CERT_FILE": str(server.certificates.authority)}
        sandbox = Sandbox(tmp_path / "sandbox", authority)
        address = f"{server.address}/structlog.git"
        if is_private:
            refused = sandbox.run("run", "Sort", "--repo", address, "--command", "true")
            assert refused.exit_code != 0, refused
            assert ".netrc" in refused.err, refused
            write_netrc(sandbox.folder / "home")

        done = sandbox.run(
            *("run", "Sort the imports", "--repo", address, "--runtime", "command"),
            *("--command", SORT_IMPORTS, "--test", TESTS, "--permission", "autonomous"),
        )

        assert done.exit_code == 0, done
        assert "done, and merged" in done.out
        assert hosted.git("rev-parse", "main^1") == before
        assert hosted.git("rev-parse", "main") in done.out
        assert "src/structlog/" in hosted.git("diff", "--name-only", before, "main")
        again = sandbox.run("run", "Twice", "--repo", address, "--command", "true", "--no-wait")
        assert again.exit_code != 0, "no server stays"
    assert sandbox.processes() == []
    left = [path for path in sandbox.data_dir.rglob("*") if path.is_file()]
    assert not [path for path in left if PASSWORD.encode() in path.read_bytes()]


def test_an_address_that_nobody_answers_is_named(sandbox: Sandbox):
    done = sandbox.run("run", "Sort", "--repo", "https://localhost:1/x.git", "--command", "true")

    assert done.exit_code != 0, done
    assert "could not be reached" in done.err
    assert "Traceback" not in done.err

"""A branch is removed only where nothing is lost by it, here and in a repository elsewhere."""

from pathlib import Path

import pytest
import pytest_asyncio

from agentvine.domains.projects.desk import Place, RepositoryDesk
from agentvine.git.errors import PushRejected
from agentvine.git.mirrors import ensure_mirror
from agentvine.git.runner import Git
from tests.support.repositories import Repo, make_bare, make_repo

BRANCH = "agentvine/team-greet"


@pytest.fixture
def desk(tmp_path: Path) -> RepositoryDesk:
    return RepositoryDesk(Git(timeout_seconds=30, network_timeout_seconds=30), tmp_path / "mirrors")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """A repository with two branches: one that is merged, and one that is not."""
    source = make_repo(tmp_path / "source")
    source.git("branch", BRANCH)
    source.commit_on("unmerged", {"a": "1"})
    return make_bare(tmp_path / "bare.git", source)


@pytest_asyncio.fixture(params=["here", "elsewhere"])
async def place(
    request: pytest.FixtureRequest, desk: RepositoryDesk, repo: Repo, tmp_path: Path
) -> Place:
    if request.param == "here":
        return Place(repo.path, is_mirror=False, remote=str(repo.path))
    return await elsewhere(desk, repo, tmp_path)


async def elsewhere(desk: RepositoryDesk, repo: Repo, folder: Path) -> Place:
    await ensure_mirror(desk.git, str(repo.path), folder / "mirror.git")
    return Place(folder / "mirror.git", is_mirror=True, remote=str(repo.path))


async def test_a_merged_branch_is_removed_and_again_is_no_trouble(
    desk: RepositoryDesk, place: Place, repo: Repo
):
    for _ in range(2):
        assert await desk.remove_branch(place, BRANCH, contained_in="main")
        assert repo.git("branch", "--list", BRANCH) == ""
        await desk.refresh(place)


async def test_a_branch_with_something_of_its_own_stays(
    desk: RepositoryDesk, place: Place, repo: Repo
):
    assert not await desk.remove_branch(place, "unmerged", contained_in="main")
    assert repo.git("branch", "--list", "unmerged").strip() == "unmerged"


async def test_a_branch_that_a_work_tree_is_on_stays(
    desk: RepositoryDesk, repo: Repo, tmp_path: Path
):
    place = Place(repo.path, is_mirror=False, remote=str(repo.path))
    repo.git("worktree", "add", "-q", tmp_path / "tree", BRANCH)
    assert not await desk.remove_branch(place, BRANCH, contained_in="main")
    repo.git("worktree", "remove", tmp_path / "tree")
    assert await desk.remove_branch(place, BRANCH, contained_in="main")


async def test_what_was_added_elsewhere_meanwhile_is_not_lost(
    desk: RepositoryDesk, repo: Repo, tmp_path: Path
):
    place = await elsewhere(desk, repo, tmp_path)
    repo.git("branch", "-f", BRANCH, "unmerged")
    with pytest.raises(PushRejected, match="stale info"):
        await desk.remove_branch(place, BRANCH, contained_in="main")
    assert repo.rev(BRANCH) == repo.rev("unmerged")

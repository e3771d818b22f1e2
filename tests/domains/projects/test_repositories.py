"""Registering repositories: real ones, on this machine, asked by the real git."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import select

from agentvine.config.settings import DatabaseSettings
from agentvine.domains.identity.enums import UserRole
from agentvine.domains.identity.models import AuditEvent
from agentvine.domains.projects.models import ProjectContext, Repository
from tests.support.api import Api, Caller, running_api
from tests.support.builders.identity import unique
from tests.support.repositories import Repo, make_bare, make_repo

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/repositories"


@dataclass(frozen=True)
class Place:
    """A server, and a folder under which developers may register."""

    api: Api
    roots: Path
    outside: Path

    def repo(self, name: str = "repo") -> Repo:
        return make_repo(self.roots / unique(name))

    async def developer(self) -> Caller:
        return await self.api.person(unique("dev"))

    async def admin(self) -> Caller:
        return await self.api.person(unique("admin"), UserRole.ADMIN)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(
    shared_settings: DatabaseSettings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("place").resolve()
    roots, outside = folder / "roots", folder / "outside"
    roots.mkdir()
    outside.mkdir()
    async with running_api(shared_settings, folder / "data", repository_roots=(roots,)) as api:
        yield Place(api, roots, outside)


async def register(who: Caller, location: object, **given: Any) -> dict[str, Any]:
    return await who.post(PATH, {"location": str(location)} | given)


async def refused(who: Caller, location: object, status: int = 422, **given: Any):
    return await who.refused("POST", PATH, status, json={"location": str(location)} | given)


def from_here(path: Path) -> str:
    """The path as seen from the server's own folder."""
    return os.path.relpath(path)


async def test_a_repository_is_registered_with_what_git_says_of_it(place: Place):
    dev = await place.developer()
    repo = place.repo()
    repo.git("branch", "-m", "main", "trunk")
    repo.git("remote", "add", "origin", "ssh://git@example.org:2222/p.git")

    row = await register(dev, repo.path, test_command="pytest -q")

    assert (row["path"], row["name"]) == (str(repo.path), repo.path.name)
    assert (row["default_branch"], row["test_command"]) == ("trunk", "pytest -q")
    assert row["git_url"] == "ssh://git@example.org:2222/p.git"
    assert row["row_version"] == 1
    project = await dev.get(f"/projects/{row['project_id']}")
    assert (project["name"], project["owner_id"]) == (repo.path.name, str(dev.actor.user_id))
    async with place.api.database.read() as read:
        contexts = (
            await read.scalars(select(ProjectContext).where(ProjectContext.name == row["name"]))
        ).all()
    assert [str(context.repository_id) for context in contexts] == [row["id"]]


async def test_what_a_repository_names_but_does_not_hold_is_told_at_its_registration(place: Place):
    dev = await place.developer()
    repo, library = place.repo(), place.repo("library")
    repo.git("-c", "protocol.file.allow=always", "submodule", "-q", "add", library.path, "lib")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{1:064x}\nsize 1\n"
    repo.commit({"a.bin": pointer, ".gitattributes": "*.bin filter=lfs -text\n"})

    row = await register(dev, repo.path, workspace={"large_files": "pointers"})

    refused, allowed = row["notes"]
    assert "submodules (lib)" in refused
    assert allowed == "Files kept by git-lfs are pointers: a.bin."
    later = await dev.get(f"{PATH}/{row['id']}")
    assert (later["workspace"]["submodules"], later["workspace"]["large_files"]) == (
        "refuse",
        "pointers",
    )
    assert later["notes"] == []
    assert (await register(dev, library.path))["notes"] == []


async def test_the_same_repository_by_another_way_is_the_same_repository(place: Place):
    dev = await place.developer()
    repo = place.repo()
    link = place.roots / unique("link")
    link.symlink_to(repo.path)
    tree = place.roots / unique("tree")
    repo.git("worktree", "add", "-q", "-b", "other", tree)
    first = await register(dev, repo.path)

    for way in (
        repo.path,
        f"{repo.path}/",
        f"{repo.path}/.",
        f"{repo.path}/src/..",
        repo.path / "src",
        link,
        from_here(repo.path),
        f"file://{repo.path}",
        f"file://localhost{repo.path}/",
        tree,
    ):
        problem = await refused(dev, way, 409)
        assert problem["code"] == "repository_registered", way
        assert problem["repository_id"] == first["id"]


async def test_a_linked_work_tree_stands_for_its_repository(place: Place):
    dev = await place.developer()
    repo = place.repo()
    tree = place.roots / unique("tree")
    repo.git("worktree", "add", "-q", "-b", "feature", tree)
    row = await register(dev, tree)
    assert (row["path"], row["default_branch"]) == (str(repo.path), "main")


async def test_a_bare_repository_is_registered(place: Place):
    dev = await place.developer()
    bare = make_bare(place.roots / f"{unique('bare')}.git", place.repo())
    row = await register(dev, bare.path)
    assert (row["path"], row["default_branch"]) == (str(bare.path), "main")
    assert row["name"] == bare.path.name.removesuffix(".git")


async def test_what_is_no_repository_is_refused_with_its_reason(place: Place):
    dev = await place.developer()
    folder = place.roots / unique("folder")
    folder.mkdir()
    file = folder / "file"
    file.write_text("x")
    loop = place.roots / unique("loop")
    loop.symlink_to(loop)
    damaged = place.repo("damaged")
    (damaged.path / ".git" / "HEAD").write_text("nonsense\n")
    for path, words in (
        (folder, "git init"),
        (place.roots / "missing", "does not exist"),
        (file, "is a file"),
        (loop, ""),
        (damaged.path, ""),
        (place.roots / ("x" * 300), ""),
        (f"file://{place.roots}/%00", ""),
    ):
        problem = await refused(dev, path)
        assert problem["code"] == "not_a_repository", path
        assert words in problem["detail"]


async def test_a_repository_without_a_commit_is_refused_until_it_has_one(place: Place):
    dev = await place.developer()
    path = place.roots / unique("empty")
    path.mkdir()
    repo = Repo(path)
    repo.git("init", "-q", "-b", "main")
    problem = await refused(dev, path)
    assert problem["code"] == "repository_empty"
    assert "commit something" in problem["detail"]
    assert (await refused(dev, path, default_branch="dev"))["code"] == "branch_unknown"
    repo.commit({"a": "b"})
    assert (await register(dev, path))["default_branch"] == "main"


async def test_the_default_branch_must_be_there(place: Place):
    dev = await place.developer()
    repo = place.repo()
    repo.commit_on("release/1", {"a": "b"})
    for branch in ("nope", "release", "HEAD", "main~1"):
        assert (await refused(dev, repo.path, default_branch=branch))["code"] in {
            "branch_unknown",
            "ref_name_invalid",
        }, branch
    for branch in ("--upload-pack=touch x", "-x", "a..b", "a b"):
        problem = await refused(dev, repo.path, default_branch=branch)
        assert problem["code"] == "ref_name_invalid"
    row = await register(dev, repo.path, default_branch="release/1")
    assert row["default_branch"] == "release/1"

    path = f"{PATH}/{row['id']}"
    wrong = await dev.refused("PATCH", path, 422, json={"default_branch": "nope"})
    assert wrong["code"] == "branch_unknown"
    changed = await dev.call("PATCH", path, json={"default_branch": "main", "name": "new"})
    assert (changed.json()["default_branch"], changed.json()["name"]) == ("main", "new")


async def test_where_head_is_detached_the_branch_must_be_named(place: Place):
    dev = await place.developer()
    repo = place.repo()
    repo.git("branch", "-m", "main", "one")
    repo.git("branch", "two")
    repo.git("checkout", "-q", "--detach")
    assert (await refused(dev, repo.path))["code"] == "branch_unknown"
    assert (await register(dev, repo.path, default_branch="two"))["default_branch"] == "two"


@pytest.mark.parametrize(
    "address",
    [
        "https://me:s3cret@127.0.0.1:9/p.git",
        "https://s3cret@127.0.0.1:9/p.git",
        "ssh://me:s3cret@127.0.0.1:9/p.git",
        "https://127.0.0.1:9/p.git?token=s3cret",
        "https://127.0.0.1:9/p.git#s3cret",
    ],
)
async def test_a_url_with_a_secret_is_refused_and_nothing_of_it_kept(place: Place, address: str):
    dev = await place.developer()
    problem = await refused(dev, address)
    assert problem["code"] == "credentials_in_url"
    assert "s3cret" not in str(problem)
    async with place.api.database.read() as read:
        kept = [
            *(repr((r.path, r.git_url, r.name)) for r in await read.scalars(select(Repository))),
            *(repr((e.before, e.after)) for e in await read.scalars(select(AuditEvent))),
        ]
    assert "s3cret" not in "".join(kept)


async def test_a_secret_in_the_address_of_origin_is_left_out(place: Place):
    dev = await place.developer()
    repo = place.repo()
    repo.git("remote", "add", "origin", "https://me:s3cret@example.org/p.git")
    assert (await register(dev, repo.path))["git_url"] == "https://example.org/p.git"


@pytest.mark.parametrize(
    "address",
    [
        "--upload-pack=touch x",
        "-u",
        "ext::sh -c 'touch x'",
        "ssh://-oProxyCommand=touch/x",
        "ssh://-x@host/p",
        "http://127.0.0.1:9/p.git",
        "git://127.0.0.1:9/p.git",
        "ftp://127.0.0.1/p",
        "https://",
        "https:///p.git",
        "https://host",
        "file://other.host/p",
    ],
)
async def test_an_address_that_git_should_not_see_is_refused(place: Place, address: str):
    admin = await place.admin()
    problem = await refused(admin, address)
    assert problem["code"] == "repository_url_invalid"


async def test_an_address_that_does_not_answer_is_told_apart_from_one_that_is_wrong(place: Place):
    dev = await place.developer()
    problem = await refused(dev, "https://127.0.0.1:9/p.git", 503)
    assert problem["code"] == "remote_unreachable"
    assert "127.0.0.1:9" in problem["detail"]


async def test_only_an_admin_registers_a_path_outside_the_roots(place: Place):
    dev, admin = await place.developer(), await place.admin()
    repo = make_repo(place.outside / unique("private"))
    link = place.roots / unique("way-out")
    link.symlink_to(repo.path)
    for way in (
        repo.path,
        link,
        f"{place.roots}/../outside/{repo.path.name}",
        f"file://{repo.path}",
        place.outside / "missing",
        "/etc/passwd",
        "/",
    ):
        problem = await refused(dev, way, 403)
        assert problem["code"] == "repository_path_forbidden", way
        assert "missing" not in problem["detail"]
    assert (await register(admin, repo.path))["path"] == str(repo.path)


async def test_a_folder_in_the_roots_does_not_lead_to_a_repository_outside(place: Place):
    dev = await place.developer()
    private = make_repo(place.outside / unique("private"))
    pointer = place.roots / unique("pointer")
    pointer.mkdir()
    (pointer / ".git").write_text(f"gitdir: {private.path}/.git\n")
    tree = place.roots / unique("tree")
    private.git("worktree", "add", "-q", "-b", unique("b"), tree)
    for way in (pointer, tree):
        assert (await refused(dev, way, 403))["code"] == "repository_path_forbidden"


async def test_a_repository_around_the_roots_is_not_reached_from_inside(
    shared_settings: DatabaseSettings, tmp_path: Path
):
    around = make_repo(tmp_path / unique("around"))
    roots = around.path / "public"
    (roots / "folder").mkdir(parents=True)
    async with running_api(shared_settings, tmp_path / "data", repository_roots=(roots,)) as api:
        dev = await api.person(unique("dev"))
        problem = await refused(dev, roots / "folder", 403)
        assert problem["code"] == "repository_path_forbidden"


async def test_a_repository_in_a_project_one_cannot_see_is_taken_but_not_told(place: Place):
    one, two = await place.developer(), await place.developer()
    repo = place.repo()
    row = await register(one, repo.path)
    problem = await refused(two, repo.path, 409)
    assert problem["code"] == "repository_registered"
    assert row["id"] not in str(problem)
    assert row["name"] not in problem["detail"]


async def test_a_repository_goes_into_ones_own_project_of_its_name_and_no_others(place: Place):
    one, two, admin = await place.developer(), await place.developer(), await place.admin()
    name = unique("same")
    theirs = await one.post("/projects", {"name": name})
    member = {"username": two.actor.username}
    await one.call("PUT", f"/projects/{theirs['id']}/members", json=member)
    for who in (two, admin):
        row = await register(who, place.repo().path, name=name)
        assert row["project_id"] != theirs["id"]
    row = await register(one, place.repo().path, name=name)
    assert row["project_id"] == theirs["id"]
    # By its id, a member may.
    named = await register(two, place.repo().path, project_id=theirs["id"])
    assert named["project_id"] == theirs["id"]


async def test_of_many_registrations_at_once_one_succeeds(place: Place):
    dev = await place.developer()
    repo = place.repo()
    body = {"location": str(repo.path)}
    answers = await asyncio.gather(*(dev.call("POST", PATH, json=body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]


async def test_a_repeated_registration_with_its_key_needs_the_repository_no_more(place: Place):
    dev = await place.developer()
    repo = place.repo()
    key = {"headers": {"Idempotency-Key": "k"}}
    body = {"location": str(repo.path)}
    first = await dev.post(PATH, body, **key)
    repo.path.rename(place.outside / unique("moved"))
    assert await dev.post(PATH, body, **key) == first


async def test_a_repository_that_vanished_is_still_shown_and_says_so_when_it_is_needed(
    place: Place,
):
    dev = await place.developer()
    repo = place.repo()
    row = await register(dev, repo.path)
    repo.path.rename(place.outside / unique("moved"))
    path = f"{PATH}/{row['id']}"
    assert (await dev.get(path))["path"] == str(repo.path)
    problem = await dev.refused("PATCH", path, 422, json={"default_branch": "x"})
    assert problem["code"] == "not_a_repository"
    assert (await dev.call("PATCH", path, json={"name": "gone"})).status_code == 200
    assert (await dev.call("DELETE", path)).status_code == 204


async def test_a_repository_is_forgotten_and_can_come_back(place: Place):
    dev = await place.developer()
    repo = place.repo()
    row = await register(dev, repo.path)
    assert (await dev.call("DELETE", f"{PATH}/{row['id']}")).status_code == 204
    await dev.refused("GET", f"{PATH}/{row['id']}", 404)
    assert repo.head  # it is not touched
    assert (await register(dev, repo.path))["id"] != row["id"]


async def test_a_repository_of_a_deleted_project_can_be_registered_by_anybody_again(place: Place):
    one, two = await place.developer(), await place.developer()
    repo = place.repo()
    row = await register(one, repo.path)
    assert (await one.call("DELETE", f"/projects/{row['project_id']}")).status_code == 204
    again = await register(two, repo.path)
    assert again["id"] != row["id"]
    assert again["project_id"] != row["project_id"]
    await one.refused("GET", f"{PATH}/{again['id']}", 404)


async def test_lists_show_what_one_may_see_and_can_be_narrowed(place: Place):
    one, two = await place.developer(), await place.developer()
    mine = await register(one, place.repo().path)
    also = await register(one, place.repo().path)
    await register(two, place.repo().path)
    listed = (await one.get(PATH))["items"]
    assert [row["id"] for row in listed] == [mine["id"], also["id"]]
    narrowed = await one.get(PATH, params={"project_id": also["project_id"]})
    assert [row["id"] for row in narrowed["items"]] == [also["id"]]
    theirs = await two.get(PATH, params={"project_id": also["project_id"]})
    assert theirs["items"] == []


async def test_nothing_is_registered_in_an_archived_project(place: Place):
    dev = await place.developer()
    project = await dev.post("/projects", {"name": unique("p")})
    await dev.call("PATCH", f"/projects/{project['id']}", json={"is_active": False})
    problem = await refused(dev, place.repo().path, 409, project_id=project["id"])
    assert problem["code"] == "project_archived"


async def test_a_stale_edit_of_a_repository_is_refused(place: Place):
    dev = await place.developer()
    path = f"{PATH}/{(await register(dev, place.repo().path))['id']}"
    fresh = {"If-Match": '"1"'}
    assert (await dev.call("PATCH", path, json={"name": "a"}, headers=fresh)).status_code == 200
    problem = await dev.refused("PATCH", path, 409, json={"name": "b"}, headers=fresh)
    assert problem["code"] == "stale_version"
    emptied = await dev.call("PATCH", path, json={"test_command": None})
    assert emptied.json()["test_command"] is None
    await dev.refused("PATCH", path, 422, json={"default_branch": None})

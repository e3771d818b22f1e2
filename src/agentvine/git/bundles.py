"""Commits as one file: how a result travels from a worker to the server."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agentvine.git.errors import (
    BundleBaseMissing,
    BundleInvalid,
    GitFailed,
    NothingToBundle,
    WorkTreeBusy,
)
from agentvine.git.landing import work_trees_showing
from agentvine.git.names import check_commit_id, check_ref_name
from agentvine.git.places import Repository, clean_room, locate
from agentvine.git.refs import has_commit, is_ancestor, set_ref
from agentvine.git.runner import Git

MAX_HEADER_BYTES = 1024 * 1024
_SIGNATURES = {b"# v2 git bundle", b"# v3 git bundle"}
_ID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class BundleInfo:
    """What a bundle says of itself."""

    refs: dict[str, str]
    """The references in it, with their commits."""
    bases: tuple[str, ...]
    """The commits it builds on, which the receiver must have."""
    pack_offset: int
    """Where the objects begin."""


async def create_bundle(
    git: Git, repository: Path, path: Path, *, refs: Mapping[str, str], base: str | None
) -> None:
    """Write the commits of some references that the base does not have into a file.

    Args:
        git: The git program.
        repository: Where the commits are.
        path: The file to write; one that is there is replaced.
        refs: What the references are to be called in the bundle, and their commits.
        base: What the receiver has; None to write the whole history.

    Raises:
        NothingToBundle: The base has all the commits already.
    """
    location = locate(repository)
    commits = {check_ref_name(name): check_commit_id(commit) for name, commit in refs.items()}
    if base is not None:
        for name, commit in commits.items():
            if await is_ancestor(git, repository, commit, check_commit_id(base)):
                raise NothingToBundle(f"{name} is at {commit}, which the base {base} has already.")
    with clean_room(location) as room:
        # A bundle holds references, and the clean room has none yet.
        for name, commit in commits.items():
            await git.run(room, "update-ref", name, commit)
        exclusions = [] if base is None else [f"^{base}"]
        await git.run(room, "bundle", "create", "--quiet", _absolute(path), *commits, *exclusions)


def read_bundle(path: Path) -> BundleInfo:
    """Read what a bundle says of itself; its contents are checked when it is imported.

    Raises:
        BundleInvalid: It is no bundle.
    """
    try:
        with path.open("rb") as file:
            return read_header(file, str(path))
    except OSError as error:
        raise BundleInvalid(f"{path} cannot be read: {error}.") from error


def read_header(file: IO[bytes], name: str = "This") -> BundleInfo:
    """Read what a bundle says of itself from its beginning.

    Raises:
        BundleInvalid: It is no bundle.
    """
    refs: dict[str, str] = {}
    bases: list[str] = []
    if file.readline(100).rstrip(b"\n") not in _SIGNATURES:
        raise BundleInvalid(f"{name} is not a git bundle.")
    while line := file.readline(MAX_HEADER_BYTES).rstrip(b"\n"):
        if line.startswith(b"@object-format="):
            continue
        commit, _, ref = line.removeprefix(b"-").partition(b" ")
        if not _ID.fullmatch(commit):
            raise BundleInvalid(f"{name} is damaged: its list of commits is no list.")
        if line.startswith(b"-"):
            bases.append(commit.decode())
        else:
            refs[check_ref_name(ref.decode("utf-8", "replace"))] = commit.decode()
    return BundleInfo(refs, tuple(bases), file.tell())


async def verify_bundle(git: Git, repository: Path, path: Path) -> BundleInfo:
    """Read a bundle, and make sure that the repository has what it builds on.

    Raises:
        BundleInvalid: It is no bundle.
        BundleBaseMissing: The repository lacks commits that it builds on.
    """
    info = read_bundle(path)
    missing = [base for base in info.bases if not await has_commit(git, repository, base)]
    if missing:
        raise BundleBaseMissing(
            f"The bundle builds on {', '.join(missing)}, which {repository} does not have: fetch "
            "it there, or run the task again from a commit that is there.",
            commits=missing,
        )
    return info


async def import_bundle(
    git: Git, repository: Path, path: Path, refs: Mapping[str, str]
) -> dict[str, str]:
    """Take commits out of a bundle and set references to them.

    The sender is not trusted: objects that git would refuse from a stranger, such as a file
    called ``.git``, are refused here too, and nothing is kept of such a bundle.

    Args:
        git: The git program.
        repository: Where they are to go.
        path: The bundle.
        refs: Which reference of the bundle sets which of the repository; it is moved even if
            that is no step forward.

    Returns:
        The references that were set, with their commits. Doing it again does no harm.

    Raises:
        BundleInvalid: It is no bundle, is damaged, or has none of the references.
        BundleBaseMissing: The repository lacks commits that it builds on.
        WorkTreeBusy: A branch to be set is checked out somewhere.
    """
    info = await verify_bundle(git, repository, path)
    location = locate(repository)
    targets: dict[str, str] = {}
    for name, target in refs.items():
        if name not in info.refs:
            raise BundleInvalid(f"The bundle holds {', '.join(info.refs)}, but not {name}.")
        branch = check_ref_name(target).removeprefix("refs/heads/")
        if branch != target and await work_trees_showing(git, location, branch):
            raise WorkTreeBusy(f"{branch} is checked out: it cannot be set from a bundle.")
        targets[target] = info.refs[name]
    await _store_objects(git, location, path, info)
    for target, commit in targets.items():
        if not await has_commit(git, repository, commit):
            raise BundleInvalid(f"The bundle names {commit}, but does not hold it.")
        await set_ref(git, repository, target, commit, reason="agentvine: from a bundle")
    return targets


async def _store_objects(git: Git, location: Repository, path: Path, info: BundleInfo) -> None:
    # Not with 'git fetch': it would not look at what is in the objects, and would refuse a base
    # that is there but was amended away from its branch since the run began.
    with _open_at(path, info.pack_offset) as pack, clean_room(location) as room:
        try:
            await git.run(room, "index-pack", "--stdin", "--fix-thin", "--strict", stdin=pack)
        except GitFailed as error:
            raise BundleInvalid(f"The bundle cannot be taken in: {error.stderr.strip()}") from error


@contextmanager
def _open_at(path: Path, offset: int) -> Generator[IO[bytes]]:
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        yield file


def _absolute(path: Path) -> Path:
    # Git is started elsewhere than we are.
    return path.absolute()

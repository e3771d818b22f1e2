"""The server's hands on registered repositories: where their commits are, and how to get there.

A repository on the server's machine is worked on in place. One that is elsewhere has a bare mirror
in the data directory, which can be thrown away and fetched again; what is merged is pushed.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from agentvine.domains.projects.models import Repository
from agentvine.git.errors import GitError
from agentvine.git.mirrors import (
    ensure_mirror,
    mirror_name,
    resolve_source_branch,
    tidy_mirror,
)
from agentvine.git.names import branch_ref, parse_source
from agentvine.git.pushes import push, remove_pushed
from agentvine.git.refs import (
    MUST_NOT_EXIST,
    delete_ref,
    find_ref,
    is_ancestor,
    is_checked_out,
    resolve_branch,
    set_ref,
)
from agentvine.git.runner import Git

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a repository's commits can be worked with."""

    path: Path
    is_mirror: bool
    """Whether merges must be pushed to ``remote`` to count."""
    remote: str


@dataclass(frozen=True, slots=True)
class RepositoryDesk:
    """Opens registered repositories, one user of each at a time."""

    git: Git
    mirrors: Path
    _turns: dict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict[str, asyncio.Lock](asyncio.Lock)
    )

    @asynccontextmanager
    async def open(
        self, repository: Repository, *, fetch: bool = True
    ) -> AsyncGenerator[Place, None]:
        """The place of a repository, for the length of the block.

        Args:
            repository: Its row; only its path is used.
            fetch: Whether a mirror is brought up to date first.
        """
        async with self._turns[repository.path]:
            source = parse_source(repository.path)
            if source.path is not None:
                yield Place(source.path, is_mirror=False, remote=repository.path)
                return
            mirror = self.mirrors / mirror_name(repository.path)
            if fetch or not mirror.exists():
                await ensure_mirror(self.git, repository.path, mirror)
            yield Place(mirror, is_mirror=True, remote=repository.path)

    async def tidy(self) -> int:
        """Keep the mirrors in order. Returns 0: there is nothing to repeat at once."""
        for mirror in sorted(self.mirrors.glob("*.git")):
            try:
                await tidy_mirror(self.git, mirror)
            except (GitError, OSError) as error:
                log.warning("mirror.not_tidied", mirror=str(mirror), problem=str(error))
        return 0

    async def resolve_branch(self, place: Place, name: str) -> str:
        """The commit at the tip of a branch of the repository, as it is there.

        Raises:
            RefNotFound: It has no such branch.
        """
        resolve = resolve_source_branch if place.is_mirror else resolve_branch
        return await resolve(self.git, place.path, name)

    async def find_branch(self, place: Place, name: str) -> str | None:
        """The same, or None where there is no such branch."""
        ref = branch_ref(name)
        if place.is_mirror:
            ref = ref.replace("refs/heads/", "refs/remotes/origin/", 1)
        return await find_ref(self.git, place.path, ref)

    async def create_branch(self, place: Place, name: str, commit: str, *, reason: str) -> None:
        """Make a branch in the repository.

        Raises:
            RefMoved: There is one of this name.
            PushRejected: There is one, or the other side does not take it.
        """
        git, ref = self.git, branch_ref(name)
        if place.is_mirror:
            await push(
                git, place.path, place.remote, commit=commit, ref=ref, expected=MUST_NOT_EXIST
            )
        else:
            await set_ref(git, place.path, ref, commit, expected=MUST_NOT_EXIST, reason=reason)

    async def remove_branch(self, place: Place, name: str, *, contained_in: str) -> bool:
        """Remove a branch of which nothing is lost; whether it is gone.

        It stays where the other branch does not contain it, or a work tree of a person's is on it.

        Raises:
            RefNotFound: There is no such other branch.
            PushRejected: It was moved meanwhile, or the other side keeps it.
            GitError: It was moved meanwhile.
        """
        git, ref = self.git, branch_ref(name)
        tip = await self.find_branch(place, name)
        if tip is None:
            return True
        if not await is_ancestor(
            git, place.path, tip, await self.resolve_branch(place, contained_in)
        ):
            return False
        if place.is_mirror:
            await remove_pushed(git, place.path, place.remote, ref=ref, expected=tip)
        elif await is_checked_out(git, place.path, ref):
            return False
        else:
            await delete_ref(git, place.path, ref, expected=tip)
        return True

    async def refresh(self, place: Place) -> None:
        """Bring the mirror of an open place up to date."""
        if place.is_mirror:
            await ensure_mirror(self.git, place.remote, place.path)

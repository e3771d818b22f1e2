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
from agentvine.git.mirrors import ensure_mirror, mirror_name, tidy_mirror
from agentvine.git.names import parse_source
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

    async def refresh(self, place: Place) -> None:
        """Bring the mirror of an open place up to date."""
        if place.is_mirror:
            await ensure_mirror(self.git, place.remote, place.path)

"""Asking git who wrote a line, and the database why."""

import uuid
from dataclasses import dataclass

from agentvine.db.session import Database
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.desk import Place, RepositoryDesk
from agentvine.domains.tracing.queries import LineFound, trace_line
from agentvine.git.blame import blame_line, find_merge
from agentvine.git.commits import read_message
from agentvine.git.places import clean_room, locate
from agentvine.kit.actor import UserActor
from agentvine.protocol.tracing import LineOriginOut


@dataclass(frozen=True, slots=True)
class LineTracer:
    """Traces lines of registered repositories."""

    database: Database
    desk: RepositoryDesk

    async def trace(
        self, actor: UserActor, repository_id: uuid.UUID, path: str, line: int, branch: str | None
    ) -> LineOriginOut:
        """The way back from a line, as it is at the tip of a branch.

        Args:
            actor: Who asks; rows that they may not see are left out.
            repository_id: Where.
            path: The file, from the repository's top.
            line: Its number, from 1.
            branch: Which branch; the repository's default branch when None.

        Raises:
            RepositoryNotFound: It is not theirs to see.
            RefNotFound: There is no such branch.
            FileNotInCommit: The branch has no such file.
            LineNotInFile: The file has fewer lines.
            GitError: Git failed.
        """
        async with self.database.read() as read:
            repository = await projects.get_repository(read, actor, repository_id)
        name = branch or repository.default_branch
        async with self.desk.open(repository) as place:
            found = await self._find(place, name, path, line)
        async with self.database.read() as read:
            return await trace_line(read, actor, repository, found)

    async def _find(self, place: Place, branch: str, path: str, line: int) -> LineFound:
        git = self.desk.git
        tip = await self.desk.resolve_branch(place, branch)
        origin = await blame_line(git, place.path, tip, path, line)
        merge = await find_merge(git, place.path, origin.commit, tip)
        merge_message = ""
        if merge is not None:
            with clean_room(locate(place.path)) as room:
                merge_message, _ = await read_message(git, room, merge)
        return LineFound(branch, tip, path, line, origin, merge, merge_message)

"""Looking into a repository before anything runs: what a request in words will probably change."""

import uuid
from dataclasses import dataclass

from agentvine.db.session import Database, ReadSession
from agentvine.domains.modifications import queries
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.desk import RepositoryDesk
from agentvine.domains.projects.models import Repository
from agentvine.impact.foresight import foresee
from agentvine.impact.reading import CommitReader
from agentvine.kit.actor import UserActor
from agentvine.protocol.impact import ForeseenImpact
from agentvine.protocol.modifications import ModificationRequestIn


@dataclass(frozen=True, slots=True)
class ImpactDesk:
    """Foresees what requests will change; talks to git, so it is in no transaction."""

    database: Database
    desk: RepositoryDesk
    reader: CommitReader

    async def foresee(self, actor: UserActor, wanted: ModificationRequestIn) -> ForeseenImpact:
        """What a request will probably touch, as its branch stands now.

        Raises:
            RepositoryNotFound: It is not theirs to see.
            ContextNotFound: It is not theirs to see.
            ProjectReadOnly: They may only look.
            ProjectArchived: Nothing new begins in its project.
            RefNotFound: There is no such branch.
            GitError: Git failed.
        """
        async with self.database.read() as read:
            repository = await place_of(read, actor, wanted)
        branch = wanted.target_branch or repository.default_branch
        async with self.desk.open(repository) as place:
            commit = await self.desk.resolve_branch(place, branch)
            found = await self.reader.read(place.path, commit)
            return await foresee(self.desk.git, place.path, found, wanted.request)


async def place_of(
    read: ReadSession, actor: UserActor, wanted: ModificationRequestIn
) -> Repository:
    """The repository of a request, in whose project the actor may begin something.

    Raises:
        RepositoryNotFound: It is not theirs to see.
        ContextNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins in its project.
    """
    repository_id: uuid.UUID | None = wanted.repository_id
    if wanted.project_context_id is not None:
        repository_id = await queries.repository_of_context(read, actor, wanted.project_context_id)
    assert repository_id is not None, "a request names its place"
    repository = await projects.get_repository_for_change(read, actor, repository_id)
    if repository.project_id is not None:
        await projects.get_active_project_for_change(read, actor, repository.project_id)
    return repository

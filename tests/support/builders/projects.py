"""Projects, members and repositories for tests."""

import uuid
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from agentvine.db.session import Database, Transaction
from agentvine.domains.projects import service
from agentvine.domains.projects.models import Project, Repository
from agentvine.domains.projects.service import RepositoryFacts
from agentvine.kit.actor import UserActor
from agentvine.protocol.projects import ProjectCreateIn
from tests.support.builders.identity import acting, make_user, unique


async def make_project(tx: Transaction, owner: UserActor, name: str | None = None) -> Project:
    """A project of the owner's."""
    return await service.create_project(tx, owner, ProjectCreateIn(name=name or unique("project")))


async def make_repository(
    tx: Transaction, owner: UserActor, project: Project, *, path: str | None = None
) -> Repository:
    """The row of a repository; there is no git behind it unless ``path`` has one."""
    name = unique("repository")
    facts = RepositoryFacts(
        name=name, path=path or f"/nowhere/{name}", git_url=None, default_branch="main"
    )
    return await service.register_repository(tx, owner, facts, project.id)


@dataclass(frozen=True)
class Ground:
    """Where a test can make tasks: somebody's project with a repository."""

    database: Database
    owner: UserActor
    project: Project
    repository: Repository

    @property
    def project_id(self) -> uuid.UUID:
        return self.project.id

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """A transaction in the owner's name."""
        return self.database.transaction(self.owner)


async def make_ground(database: Database) -> Ground:
    """A new user with a new project and a new repository in it, all committed."""
    async with database.transaction() as tx:
        owner = acting(await make_user(tx))
        project = await make_project(tx, owner)
        repository = await make_repository(tx, owner, project)
    return Ground(database, owner, project, repository)

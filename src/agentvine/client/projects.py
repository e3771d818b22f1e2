"""Projects, their members, and repositories."""

import uuid
from urllib.parse import quote

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, edit, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.projects import (
    MemberIn,
    MemberOut,
    ProjectCreateIn,
    ProjectEditIn,
    ProjectOut,
    RepositoryCreateIn,
    RepositoryEditIn,
    RepositoryOut,
)
from agentvine.protocol.tracing import LineOriginOut


class ProjectsApi:
    """``projects/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(self) -> Listing[ProjectOut]:
        """The projects one may see."""
        return Listing(self._transport, "projects", {}, PageOut[ProjectOut])

    async def create(self, body: ProjectCreateIn, *, key: str | None = None) -> ProjectOut:
        """A new project, owned by the caller."""
        return await self._transport.fetch(post("projects", body).with_key(key), ProjectOut)

    async def get(self, project_id: uuid.UUID) -> ProjectOut:
        """One project."""
        return await self._transport.fetch(get(f"projects/{project_id}"), ProjectOut)

    async def edit(
        self, project_id: uuid.UUID, body: ProjectEditIn, *, row_version: int
    ) -> ProjectOut:
        """Change what is set in the body, unless somebody else was faster."""
        call = edit(f"projects/{project_id}", body, row_version)
        return await self._transport.fetch(call, ProjectOut)

    async def delete(self, project_id: uuid.UUID) -> None:
        """Delete a project with all that belongs to it."""
        await self._transport.send(Call("DELETE", f"projects/{project_id}"))

    def members(self, project_id: uuid.UUID) -> Listing[MemberOut]:
        """Who else may see or work in a project."""
        return Listing(self._transport, f"projects/{project_id}/members", {}, PageOut[MemberOut])

    async def put_member(self, project_id: uuid.UUID, body: MemberIn) -> MemberOut:
        """Add a member, or change what one may do."""
        call = Call("PUT", f"projects/{project_id}/members", body=body, is_repeatable=True)
        return await self._transport.fetch(call, MemberOut)

    async def remove_member(self, project_id: uuid.UUID, username: str) -> None:
        """Take a member's access away."""
        path = f"projects/{project_id}/members/{quote(username, safe='')}"
        await self._transport.send(Call("DELETE", path))


class RepositoriesApi:
    """``repositories/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(self, *, project_id: uuid.UUID | None = None) -> Listing[RepositoryOut]:
        """The repositories one may see."""
        return Listing(
            self._transport, "repositories", {"project_id": project_id}, PageOut[RepositoryOut]
        )

    async def create(self, body: RepositoryCreateIn, *, key: str | None = None) -> RepositoryOut:
        """Register a repository by path or URL."""
        return await self._transport.fetch(post("repositories", body).with_key(key), RepositoryOut)

    async def get(self, repository_id: uuid.UUID) -> RepositoryOut:
        """One repository."""
        return await self._transport.fetch(get(f"repositories/{repository_id}"), RepositoryOut)

    async def edit(
        self, repository_id: uuid.UUID, body: RepositoryEditIn, *, row_version: int
    ) -> RepositoryOut:
        """Change what is set in the body, unless somebody else was faster."""
        call = edit(f"repositories/{repository_id}", body, row_version)
        return await self._transport.fetch(call, RepositoryOut)

    async def blame(
        self, repository_id: uuid.UUID, path: str, line: int, *, branch: str | None = None
    ) -> LineOriginOut:
        """Who wrote a line of a branch, and why."""
        params = {"path": path, "line": line, "branch": branch}
        call = get(f"repositories/{repository_id}/blame", params)
        return await self._transport.fetch(call, LineOriginOut)

    async def delete(self, repository_id: uuid.UUID) -> None:
        """Forget a repository; its files stay."""
        await self._transport.send(Call("DELETE", f"repositories/{repository_id}"))

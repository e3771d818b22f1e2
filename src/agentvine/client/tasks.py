"""Tasks and their dependencies."""

import uuid
from collections.abc import Sequence

from agentvine.client.pages import Listing
from agentvine.client.transport import Call, Transport, edit, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.enums import TaskStatus
from agentvine.protocol.tasks import (
    DependencyIn,
    DependencyOut,
    TaskCancelIn,
    TaskCreateIn,
    TaskDetailOut,
    TaskEditIn,
    TaskOut,
)


class TasksApi:
    """``tasks/``."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(
        self,
        *,
        project_id: uuid.UUID | None = None,
        repository_id: uuid.UUID | None = None,
        plan_id: uuid.UUID | None = None,
        status: Sequence[TaskStatus] = (),
    ) -> Listing[TaskOut]:
        """The tasks one may see, newest first; those in one of these states, if any are named."""
        params = {
            "project_id": project_id,
            "repository_id": repository_id,
            "plan_id": plan_id,
            "status": status,
        }
        return Listing(self._transport, "tasks", params, PageOut[TaskOut])

    async def create(self, body: TaskCreateIn, *, key: str | None = None) -> TaskOut:
        """A new task, queued at once unless something holds it back or ``start`` is false."""
        return await self._transport.fetch(post("tasks", body).with_key(key), TaskOut)

    async def get(self, task_id: uuid.UUID) -> TaskDetailOut:
        """One task with its relations."""
        return await self._transport.fetch(get(f"tasks/{task_id}"), TaskDetailOut)

    async def edit(self, task_id: uuid.UUID, body: TaskEditIn, *, row_version: int) -> TaskOut:
        """Change what is set in the body, unless somebody else was faster."""
        return await self._transport.fetch(edit(f"tasks/{task_id}", body, row_version), TaskOut)

    async def delete(self, task_id: uuid.UUID) -> None:
        """Delete a task softly."""
        await self._transport.send(Call("DELETE", f"tasks/{task_id}"))

    async def cancel(self, task_id: uuid.UUID, *, reason: str = "") -> TaskOut:
        """Stop a task for good, also while it runs."""
        call = post(f"tasks/{task_id}/cancel", TaskCancelIn(reason=reason))
        return await self._transport.fetch(call, TaskOut)

    async def start(self, task_id: uuid.UUID) -> TaskOut:
        """Queue a task that was created without being started."""
        return await self._transport.fetch(post(f"tasks/{task_id}/start"), TaskOut)

    async def retry(self, task_id: uuid.UUID) -> TaskOut:
        """Queue a failed task again."""
        return await self._transport.fetch(post(f"tasks/{task_id}/retry"), TaskOut)

    def dependencies(self, task_id: uuid.UUID) -> Listing[DependencyOut]:
        """What a task waits for or relates to."""
        return Listing(self._transport, f"tasks/{task_id}/dependencies", {}, PageOut[DependencyOut])

    async def add_dependency(self, task_id: uuid.UUID, body: DependencyIn) -> DependencyOut:
        """Make a task wait for, or relate to, another."""
        call = post(f"tasks/{task_id}/dependencies", body).with_key(None)
        return await self._transport.fetch(call, DependencyOut)

    async def remove_dependency(self, task_id: uuid.UUID, depends_on: uuid.UUID) -> None:
        """Take a relation away."""
        await self._transport.send(Call("DELETE", f"tasks/{task_id}/dependencies/{depends_on}"))

"""Who calls a tool, and what the tool can reach."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.conversations.chat import Place
from agentvine.domains.gateway.keys import KeyedRun
from agentvine.domains.identity.queries import find_person
from agentvine.domains.questions.service import Claim
from agentvine.domains.tasks import queries as tasks
from agentvine.domains.tasks import service as task_service
from agentvine.domains.tasks.models import Task
from agentvine.domains.work import queries as work
from agentvine.http.state import HttpState
from agentvine.kit.actor import UserActor


@dataclass(frozen=True, slots=True)
class PersonCall:
    """A person's assistant: it may do what the person's token may."""

    state: HttpState
    actor: UserActor


@dataclass(frozen=True, slots=True)
class RunCall:
    """A run's agent."""

    state: HttpState
    run: KeyedRun
    wait_seconds: float
    """How long this call may take."""

    @property
    def claim(self) -> Claim:
        """The claim in whose name it speaks."""
        return Claim(self.run.execution_id, self.run.order_id, self.run.fence)

    @asynccontextmanager
    async def holding_task(self) -> AsyncGenerator[tuple[Transaction, Task]]:
        """A transaction in the worker's name in which the claim stands; its task is locked.

        Raises:
            LeaseLost: The claim is not the run's any more.
        """
        async with self.state.database.transaction(self.run.worker) as tx:
            task = await tasks.lock_task(tx, self.run.task_id)
            await self.check_held(tx)
            yield tx, task

    async def check_held(self, read: ReadSession) -> None:
        """See that the claim stands, or stood a moment ago where its task is not locked.

        Raises:
            LeaseLost: It does not.
        """
        run = self.run
        await work.check_is_held(read, run.order_id, run.fence, run.execution_id)

    async def place(self, tx: Transaction, task: Task) -> Place:
        """Where the run says something."""
        return Place(
            conversation_id=await task_service.ensure_conversation(tx, task),
            project_id=task.project_id,
            execution_id=self.run.execution_id,
        )

    async def person(self, read: ReadSession) -> UserActor:
        """Whoever made the task, as far as a run may act for them: in the task's project alone."""
        return await find_person(
            read,
            self.run.payer.user_id,
            only_project=self.run.project_id,
            through=f"run {self.run.execution_id}",
        )

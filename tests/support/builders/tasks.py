"""Tasks for tests."""

from typing import Any

from agentvine.db.session import Transaction
from agentvine.domains.projects.models import Repository
from agentvine.domains.tasks import service
from agentvine.domains.tasks.models import Task
from agentvine.kit.actor import UserActor
from agentvine.protocol.tasks import TaskCreateIn, TaskRun
from tests.support.builders.identity import unique


async def make_task(
    tx: Transaction, owner: UserActor, repository: Repository, **fields: Any
) -> Task:
    """A task that can be run, and is queued at once unless something holds it back."""
    wanted = {
        "title": unique("task"),
        "repository_id": repository.id,
        "run": TaskRun(command="true"),
        **fields,
    }
    return await service.create_task(tx, owner, TaskCreateIn(**wanted))

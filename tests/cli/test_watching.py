"""Who watches a task that nobody takes is told what the server knows of it."""

import asyncio
import uuid

import pytest

from agentvine.__main__ import PARTS
from agentvine.cli.options import GlobalOptions
from agentvine.cli.output import Output
from agentvine.cli.session import Session
from agentvine.cli.watching import Watcher
from agentvine.config.settings import load_settings
from agentvine.protocol.executions import ExecutionOut, LogLineOut
from agentvine.protocol.tasks import TaskOut
from tests.cli.conftest import Cli
from tests.support.builders.identity import unique
from tests.support.repositories import Repo

pytestmark = pytest.mark.timeout(120)


class Notes:
    """A display that waits for a remark."""

    def __init__(self) -> None:
        self.first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def task(self, task: TaskOut) -> None: ...

    def execution(self, execution: ExecutionOut) -> None: ...

    def line(self, line: LogLineOut) -> None: ...

    def note(self, text: str) -> None:
        if not self.first.done():
            self.first.set_result(text)


async def first_note(task_id: uuid.UUID) -> str:
    async def nowhere() -> bool:
        return False

    notes = Notes()
    session = Session(load_settings(), GlobalOptions(), PARTS, Output(as_json=False))
    watcher = Watcher(session, notes, nowhere, hint_seconds=0.0)
    watching = asyncio.create_task(watcher.watch(task_id))
    try:
        async with asyncio.timeout(60):
            return await notes.first
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await session.close()


def test_why_nobody_begins(cli: Cli, repository: Repo):
    project = unique("project")
    cli.ok("project", "create", project)
    cli.ok("repo", "register", str(repository.path), "--project", project)
    paused = cli.ok("queue", "pause", "--project", project)
    assert f"work of the project {project} does not begin" in paused.out
    made = cli.ok(
        *("task", "create", "waits", "--project", project, "--repo", str(repository.path)),
        *("--command", "true", "--queue", unique("queue"), "--json"),
    )
    said = asyncio.run(first_note(uuid.UUID(made.json["id"])))
    assert said.startswith("nobody has begun yet: ")
    assert f"the project {project} is paused by user:" in said
    assert "no worker" in said, "as nobody serves its queue"

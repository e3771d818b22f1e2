"""What an attempt left unfinished is taken up by the next one, whichever worker that has."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from agentvine.config.settings import DatabaseSettings
from agentvine.runtimes.registry import builtin_runtimes
from agentvine.worker.config import WorkerConfig
from agentvine.worker.daemon import Worker, open_tools
from tests.support.api import Api, running_api
from tests.support.gateway import until
from tests.support.repositories import Repo
from tests.support.space import Json, Space, make_space
from tests.support.tools import listening

SCRIPT = """
- run: test ! -e half.txt || cp half.txt whole.txt
- write: {path: half.txt, text: half}
- run: test -e whole.txt
"""
"""Fails where it begins with nothing, and is done where it finds what it left."""


@asynccontextmanager
async def working(api: Api, url: str, space: Space, folder: Path) -> AsyncIterator[None]:
    """A worker with a disk of its own, named by its folder."""
    config = WorkerConfig(
        server_url=url,
        token=SecretStr(await api.worker_token(folder.name)),
        data_dir=folder,
        name=folder.name,
        runtimes=("scripted",),
        queues=(space.queue,),
    )
    async with open_tools(config, builtin_runtimes()) as tools:
        worker = Worker(tools)
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()
            assert await running == 0


async def attempts_of(space: Space, task: Json) -> list[Json]:
    """The newest first."""
    params = {"task_id": task["id"]}
    return (await space.owner.get("/executions", params=params))["items"]


async def ended(space: Space, task: Json, count: int) -> Json:
    """The last of so many attempts, once it has ended."""

    async def is_so() -> bool:
        attempts = await attempts_of(space, task)
        return len(attempts) == count and attempts[0]["status"] != "running"

    await until(is_so, seconds=240)
    return (await attempts_of(space, task))[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_another_worker_goes_on_with_what_an_attempt_left(
    sqlite_settings: DatabaseSettings, repo: Repo, tmp_path: Path
):
    async with running_api(sqlite_settings, tmp_path / "data") as api, listening(api) as url:
        space = await make_space(api, path=str(repo.path))
        task = await space.task(run_runtime="scripted", run_command=SCRIPT, run_max_retries=0)
        async with working(api, url, space, tmp_path / "first"):
            first = await ended(space, task, 1)
        repo.commit({"meanwhile.txt": "somebody else's\n"})
        await space.act(task, "retry")
        async with working(api, url, space, tmp_path / "second"):
            second = await ended(space, task, 2)
        [change] = [
            each for each in await space.changes(task) if each["execution_id"] == second["id"]
        ]
        log = await space.owner.get(f"/executions/{second['id']}/logs")

    assert (first["status"], first["failure_class"]) == ("failed", "tool_failed")
    assert second["status"] == "completed", second
    assert second["worker_id"] != first["worker_id"]
    assert set(change["affected_files"]) == {"half.txt", "whole.txt"}
    said = [each["message"] for each in log["items"] if each["stream"] == "system"]
    assert any("What the earlier attempt did is in the files" in each for each in said)

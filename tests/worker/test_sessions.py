"""An agent's session outlives the worker that saw it begin."""

import asyncio
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import update

from agentvine.config.settings import DatabaseSettings
from agentvine.domains.work.models import WorkOrder
from tests.support.api import Api, running_api
from tests.support.gateway import until
from tests.support.repositories import Repo
from tests.support.space import Json, Space, make_space
from tests.support.tools import listening
from tests.worker.support.worker_main import worker_process

SCRIPT = """
steps: [{say: anew}, {hang: true}]
resumed_steps: [{write: {path: resumed.txt, text: resumed}}]
"""


@contextmanager
def worker(url: str, token: str, space: Space, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker of this folder, as a process; it is killed at the end, if not before."""
    process = worker_process(
        folder / "worker.log",
        server_url=url,
        token=token,
        data_dir=str(folder / "worker"),
        name="w1",
        queues=[space.queue],
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=30)


async def attempts_of(space: Space, task: Json) -> list[Json]:
    """The oldest first."""
    params = {"task_id": task["id"]}
    return (await space.owner.get("/executions", params=params))["items"][::-1]


async def let_wait_no_longer(api: Api, task: Json) -> None:
    """What only time could do: the back-off is over."""
    async with api.database.transaction() as tx:
        await tx.execute(
            update(WorkOrder)
            .where(WorkOrder.task_id == uuid.UUID(task["id"]))
            .values(available_at=WorkOrder.enqueued_at)
        )


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_a_session_seen_just_before_its_worker_was_killed_is_gone_on_with(
    sqlite_settings: DatabaseSettings, repo: Repo, tmp_path: Path
):
    async with running_api(sqlite_settings, tmp_path / "data") as api, listening(api) as url:
        space = await make_space(api, path=str(repo.path))
        token = await api.worker_token("w1")
        task = await space.task(run_runtime="scripted", run_command=SCRIPT)

        async def session_is_told() -> bool:
            return any(each["session_id"] for each in await attempts_of(space, task))

        async def has_done_it() -> bool:
            await let_wait_no_longer(api, task)
            return (await attempts_of(space, task))[-1]["status"] == "completed"

        with worker(url, token, space, tmp_path) as first:
            await until(session_is_told, seconds=120)
            await asyncio.to_thread(first.kill)
        with worker(url, token, space, tmp_path):
            await until(has_done_it, seconds=240)
        lost, last = await attempts_of(space, task)
        [change] = await space.changes(task)

    assert lost["status"] == "failed"
    assert last["session_id"] == lost["session_id"]
    assert change["affected_files"] == ["resumed.txt"]

"""What a repository asks for reaches the worker with each order."""

import pytest

from agentvine.db.session import Database
from agentvine.domains.projects import service as projects
from agentvine.domains.projects.models import Repository
from agentvine.protocol.projects import RepositoryEditIn
from agentvine.protocol.runs import (
    LargeFiles,
    RunLimits,
    RunWatch,
    SandboxNetwork,
    SandboxPolicy,
    Submodules,
    WorkspacePolicy,
)
from tests.support.builders.work import make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_order_carries_its_repositorys_sandbox_and_the_tightest_limits(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    policy = SandboxPolicy(network=SandboxNetwork.ALLOW_LIST, allowed_hosts=["api.example.com"])
    edit = RepositoryEditIn(sandbox=policy, limits=RunLimits(memory_mib=512, processes=50))
    async with shared_database.transaction() as tx:
        repository = await tx.get_one(Repository, crew.ground.repository.id)
        await projects.edit_repository(tx, repository, edit)
    await crew.enqueue(
        run_limits=RunLimits(memory_mib=1024, processes=20, cpu_seconds=60),
        run_watch=RunWatch(silence_seconds=30),
    )
    payload = (await (await crew.worker()).claim_one()).payload
    assert payload.sandbox is not None
    assert payload.sandbox.allowed_hosts == ["api.example.com"]
    assert payload.limits.model_dump(exclude_none=True) == {
        "memory_mib": 512,
        "processes": 20,
        "cpu_seconds": 60,
    }
    assert payload.watch.silence_seconds == 30


async def test_an_order_carries_what_its_repository_allows_to_be_lacking(
    shared_database: Database,
):
    crew = await make_crew(shared_database)
    edit = RepositoryEditIn(workspace=WorkspacePolicy(submodules=Submodules.EMPTY))
    async with shared_database.transaction() as tx:
        repository = await tx.get_one(Repository, crew.ground.repository.id)
        await projects.edit_repository(tx, repository, edit)
    await crew.enqueue()
    payload = (await (await crew.worker()).claim_one()).payload
    assert payload.workspace.submodules is Submodules.EMPTY
    assert payload.workspace.large_files is LargeFiles.REFUSE


async def test_a_sandbox_can_be_switched_off_again(shared_database: Database):
    crew = await make_crew(shared_database)
    async with shared_database.transaction() as tx:
        repository = await tx.get_one(Repository, crew.ground.repository.id)
        await projects.edit_repository(tx, repository, RepositoryEditIn(sandbox=SandboxPolicy()))
        await projects.edit_repository(tx, repository, RepositoryEditIn(sandbox=None))
    await crew.enqueue()
    assert (await (await crew.worker()).claim_one()).payload.sandbox is None

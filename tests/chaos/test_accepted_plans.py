"""A plan is accepted again and again while its server is killed: each step becomes one task."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.kit.errors import AppError
from agentvine.protocol.enums import ArtifactType, PlanStatus
from agentvine.protocol.planning import PlanAcceptNowIn
from agentvine.protocol.plans import (
    ImplementationSteps,
    ImplementationStepsIn,
    PlanCreateIn,
    PlanDetailOut,
    PlanStep,
)
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.tasks import TaskRun
from tests.support.fleet import Fleet, insist
from tests.support.repositories import make_repo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS, PRESSES = 30, 20


@pytest.fixture(params=["before", "after"])
async def fleet(
    request: pytest.FixtureRequest, database_settings: DatabaseSettings, tmp_path: Path
) -> AsyncIterator[Fleet]:
    """A server that is killed once, as it accepts a plan: before its commit, or right after it."""
    deaths = tmp_path / "deaths"
    deaths.write_text("plan draft\n")  # of making the plan it does not die
    fleet = Fleet(
        tmp_path,
        database_settings,
        server_program=("tests.support.mortal_server", request.param, str(deaths)),
    )
    await fleet.prepare()
    await fleet.start_server()
    yield fleet
    fleet.stop()


async def make_plan(owner: Client, folder: Path) -> PlanDetailOut:
    """A chain of steps."""
    location = str(make_repo(folder / "repository").path)
    repository = await owner.repositories.create(RepositoryCreateIn(location=location))
    steps = [
        PlanStep(key=f"s{number}", title=f"Step {number}", depends_on=[f"s{number - 1}"])
        if number
        else PlanStep(key="s0", title="Step 0")
        for number in range(STEPS)
    ]
    part = ImplementationStepsIn(
        artifact_type=ArtifactType.IMPLEMENTATION_STEPS, content=ImplementationSteps(steps=steps)
    )
    body = PlanCreateIn(repository_id=repository.id, name="chain", artifacts=[part])
    return await owner.plans.create(body)


async def test_a_killed_server_and_twenty_impatient_people_make_each_task_once(
    fleet: Fleet, tmp_path: Path
):
    body = PlanAcceptNowIn(run=TaskRun(command="true"))
    async with fleet.client() as owner:
        plan = await make_plan(owner, tmp_path)

        async def press() -> None:
            # A client of its own: the one above is to outlive the broken connections.
            async with fleet.client() as client:
                with suppress(AppError):
                    await client.plans.accept(plan.id, body)

        await asyncio.gather(*(press() for _ in range(PRESSES)))
        # All or nothing, whatever was killed.
        tasks = await insist(owner.tasks.list(plan_id=plan.id).all)
        assert len(tasks) in {0, STEPS}
        status = (await insist(lambda: owner.plans.get(plan.id))).status
        assert (status is PlanStatus.ACTIVE) == (len(tasks) == STEPS)
        assert "plan active" in (tmp_path / "deaths").read_text()

        await asyncio.gather(*(press() for _ in range(PRESSES)))
        made = await owner.plans.accept(plan.id, body)

        tasks = await owner.tasks.list(plan_id=plan.id).all()
        assert Counter(task.plan_step for task in tasks) == Counter(f"s{n}" for n in range(STEPS))
        assert {row.task_id for row in made.tasks} == {task.id for task in tasks}
        statuses = Counter(task.status.value for task in tasks)
        assert statuses == {"queued": 1, "blocked": STEPS - 1}

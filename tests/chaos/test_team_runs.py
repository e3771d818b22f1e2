"""A team works on a goal while its server is killed again and again: it ends merged, once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.kit.errors import AppError
from agentvine.protocol.enums import PermissionLevel
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.tasks import TaskRun
from agentvine.protocol.team import TeamRoleIn, TeamRunCreateIn, TeamRunDetailOut, TeamRunStatus
from tests.support.fleet import Fleet
from tests.support.repositories import make_repo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_OVER = {TeamRunStatus.COMPLETED, TeamRunStatus.FAILED, TeamRunStatus.WAITING}
_PLAN = '{"feature_plan": {"goal": "Greet."}, "steps": [{"key": "greet", "title": "Greet"}]}'
# Red where nothing was reworked: who is sent back writes the same file anew.
_BUILD = "if [ -f greet.txt ]; then echo hello > greet.txt; else echo go away > greet.txt; fi"
_TEST = (
    'if grep -q hello greet.txt; then echo \'{"outcome": "pass"}\'; else '
    'echo \'{"outcome": "fail", "findings": [{"path": "greet.txt", "text": "rude"}]}\'; fi '
    "> agentvine-answer.json"
)


@pytest.fixture
async def fleet(database_settings: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, database_settings)
    await fleet.prepare()
    await fleet.start_server()
    yield fleet
    fleet.stop()


def answers(text: str) -> TeamRoleIn:
    return TeamRoleIn(run=TaskRun(command=f"echo '{text}' > agentvine-answer.json"))


async def begin(owner: Client, location: Path) -> TeamRunDetailOut:
    repository = await owner.repositories.create(RepositoryCreateIn(location=str(location)))
    body = TeamRunCreateIn(
        repository_id=repository.id,
        goal="Greet.",
        permission=PermissionLevel.AUTONOMOUS,
        architect=answers(_PLAN),
        coder=TeamRoleIn(run=TaskRun(command=_BUILD)),
        tester=TeamRoleIn(run=TaskRun(command=_TEST)),
        reviewer=answers('{"outcome": "approve"}'),
    )
    return await owner.team.get((await owner.team.begin(body)).id)


async def test_killed_at_every_arrow_a_team_ends_merged_and_does_nothing_twice(
    fleet: Fleet, tmp_path: Path
):
    repo = make_repo(tmp_path / "repository")
    fleet.start_worker()
    seen: set[tuple[str, int, int]] = set()
    async with fleet.client() as owner:
        run = await begin(owner, repo.path)
        while run.status not in _OVER:
            with suppress(AppError):
                run = await owner.team.get(run.id)
            # Once after each arrow that we see: just when the next move is due, or being made.
            stands = (run.status.value, run.round, len(run.steps))
            if stands not in seen and run.status not in _OVER:
                seen.add(stands)
                fleet.kill(fleet.server)
                await fleet.start_server()
            await asyncio.sleep(0.05)

    assert run.status is TeamRunStatus.COMPLETED, run.status_reason
    assert len(seen) > 3
    assert repo.git("show", "main:greet.txt") == "hello"
    roles = Counter((step.role.value, step.round, step.number) for step in run.steps)
    assert roles == Counter(
        {
            ("architect", 0, 1): 1,
            ("coder", 0, 1): 1,
            ("tester", 0, 1): 1,
            ("coder", 1, 1): 1,
            ("tester", 1, 1): 1,
            ("reviewer", 1, 1): 1,
            ("deliverer", 1, 1): 1,
        }
    )
    assert [verdict.outcome.value for verdict in run.verdicts] == ["fail", "pass", "approve"]
    assert repo.git("log", "--format=%s", "--merges", "--grep=AgentVine-Modification", "main")

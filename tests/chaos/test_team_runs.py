"""A team works on a goal while its server is killed at every arrow: all is done, and done once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.kit.errors import Conflict, Unavailable
from agentvine.protocol.conversations import MessageOut
from agentvine.protocol.enums import ModificationStatus, ProviderKind
from agentvine.protocol.modifications import ModificationOut
from agentvine.protocol.projects import RepositoryCreateIn
from agentvine.protocol.providers import ProviderCreateIn
from agentvine.protocol.tasks import TaskRun
from agentvine.protocol.team import (
    TeamApproveIn,
    TeamRole,
    TeamRoleIn,
    TeamRunCreateIn,
    TeamRunDetailOut,
    TeamRunOut,
    TeamRunStatus,
)
from tests.support.fleet import Fleet, insist
from tests.support.models import scripted_model
from tests.support.repositories import make_repo

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

_OVER = {TeamRunStatus.COMPLETED, TeamRunStatus.FAILED, TeamRunStatus.WAITING}
_NOT_PASSED = {TeamRunStatus.FAILED, TeamRunStatus.WAITING, TeamRunStatus.CANCELLED}
_JUDGES = {TeamRole.TESTER, TeamRole.REVIEWER}
_STEPS = [
    (TeamRole.ARCHITECT, 0),
    (TeamRole.CODER, 0),
    (TeamRole.TESTER, 0),
    (TeamRole.CODER, 1),
    (TeamRole.TESTER, 1),
    (TeamRole.REVIEWER, 1),
    (TeamRole.CODER, 2),
    (TeamRole.TESTER, 2),
    (TeamRole.REVIEWER, 2),
    (TeamRole.DELIVERER, 2),
]
_PLAN = '{"feature_plan": {"goal": "Greet."}, "steps": [{"key": "greet", "title": "Greet"}]}'
_BUILD = """
was=$(cat greet.txt 2> /dev/null)
case "$was" in
  "") echo go away ;;
  "go away") echo hello ;;
  *) echo hello there ;;
esac > greet.txt
"""
_TEST = """
if grep -q hello greet.txt; then echo '{"outcome": "pass"}'
else echo '{"outcome": "fail", "findings": [{"path": "greet.txt", "text": "It is rude."}]}'
fi > agentvine-answer.json
"""
# Each question is answered by what was changed, however often it is put.
_REVIEWER = """
usage: {input: 1000, output: 100}
conversations:
  - when: {prompt: "[+]hello there"}
    turns:
      - calls: [{tool: answer, input: {outcome: approve}}]
  - turns:
      - calls:
          - tool: answer
            input: {outcome: changes_requested, summary: Say whom you greet.}
"""


@pytest.fixture(params=["before", "after"])
async def fleet(
    request: pytest.FixtureRequest, database_settings: DatabaseSettings, tmp_path: Path
) -> AsyncIterator[Fleet]:
    deaths = tmp_path / "deaths"
    deaths.touch()
    fleet = Fleet(
        tmp_path,
        database_settings,
        lease_seconds=6.0,
        # No run is to be given up because its server died too often.
        settings={"AGENTVINE_QUEUE__POISON_AFTER_LOSSES": "1000"},
        server_program=("tests.support.mortal_server", request.param, str(deaths)),
    )
    await fleet.prepare()
    await fleet.start_server()
    yield fleet
    fleet.stop()


async def begin(owner: Client, location: Path, model_url: str) -> TeamRunOut:
    repository = await owner.repositories.create(RepositoryCreateIn(location=str(location)))
    await owner.providers.create(
        ProviderCreateIn(
            name="scripted",
            kind=ProviderKind.ANTHROPIC,
            base_url=model_url,
            models=["claude-haiku-4-5"],
            key=SecretStr("sk-canary-0123456789"),
        )
    )
    body = TeamRunCreateIn(
        repository_id=repository.id,
        goal="Greet.",
        architect=TeamRoleIn(run=TaskRun(command=f"echo '{_PLAN}' > agentvine-answer.json")),
        coder=TeamRoleIn(run=TaskRun(command=_BUILD)),
        tester=TeamRoleIn(run=TaskRun(command=_TEST)),
    )
    return await insist(lambda: owner.team.begin(body, key="the one goal"))


async def find_change(owner: Client) -> ModificationOut | None:
    """What is to be merged in the end, once it is there."""
    pending = await insist(owner.modifications.list(status=[ModificationStatus.PENDING]).all)
    return next((change for change in pending if change.target_branch == "main"), None)


async def say_yes(owner: Client, run: TeamRunDetailOut) -> None:
    """Be the person who is asked: about the plan, and about the change of the whole."""
    try:
        if run.status is TeamRunStatus.AWAITING_APPROVAL:
            await owner.team.approve(run.id, TeamApproveIn())
        elif run.status is TeamRunStatus.DELIVERING and (change := await find_change(owner)):
            await owner.modifications.approve(change.id)
    except (Conflict, Unavailable):
        pass  # it was heard, and the server died of it; or it is said once more


async def test_killed_at_every_arrow_a_team_ends_merged_and_does_nothing_twice(
    fleet: Fleet, tmp_path: Path
):
    repo = make_repo(tmp_path / "repository")
    fleet.start_worker()
    async with scripted_model(_REVIEWER) as model, fleet.client() as owner:
        run_id = (await begin(owner, repo.path, model.url)).id
        while (run := await insist(lambda: owner.team.get(run_id))).status not in _OVER:
            await say_yes(owner, run)
            await asyncio.sleep(0.05)
        assert run.status is TeamRunStatus.COMPLETED, run.status_reason
        tasks = await insist(owner.tasks.list().all)
        told = {task.id: task.description or "" for task in tasks}
        changes = await insist(owner.modifications.list().all)
        assert run.conversation_id is not None
        talk = await insist(owner.conversations.chat(run.conversation_id).all)
        messages = await insist(owner.conversations.messages(run.conversation_id).all)

    assert_each_arrow_was_deadly((tmp_path / "deaths").read_text())
    assert_each_step_was_made_once(run, told)
    assert_verdicts_went_back(run, told)
    assert_all_is_on_the_record(run, [each.text for each in talk], messages)
    assert repo.git("show", "main:greet.txt") == "hello there"
    assert repo.git("branch", "--list", "agentvine/*") == ""
    merged = repo.git("log", "--format=%(trailers:key=AgentVine-Modification,valueonly)", "main")
    assert sorted(merged.split()) == sorted(str(change.id) for change in changes)


def assert_each_arrow_was_deadly(deaths: str) -> None:
    arrows = ["question open", "is_approved", "base_commit", "plan draft", "plan active", "paid"]
    arrows.append("architect 0 answered")
    arrows += [f"run {status.value} " for status in TeamRunStatus if status not in _NOT_PASSED]
    arrows += [f"{role.value} {round_} begun" for role, round_ in _STEPS]
    arrows += [f"verdict of {role.value} {round_}" for role, round_ in _STEPS if role in _JUDGES]
    assert [arrow for arrow in arrows if arrow not in deaths] == []


def assert_each_step_was_made_once(run: TeamRunDetailOut, told: dict[UUID, str]) -> None:
    assert Counter((step.role, step.round) for step in run.steps) == Counter(_STEPS)
    assert Counter(told.keys()) == Counter(step.task_id for step in run.steps if step.task_id)
    assert {step.number for step in run.steps} == {1}


def assert_all_is_on_the_record(
    run: TeamRunDetailOut, talk: list[str], messages: list[MessageOut]
) -> None:
    assert run.total_tokens >= 2 * 1100  # a question whose server died was put once more
    assert run.total_cost_usd == sum(step.cost_usd for step in run.steps) > 0
    assert sum(each.tokens_in + each.tokens_out for each in messages) == run.total_tokens
    assert sum(each.cost_usd for each in messages) == run.total_cost_usd
    told = Counter(text for text in talk if text.startswith(("tester: ", "reviewer: ")))
    assert {text.splitlines()[0] for text in told} == {
        "tester: fail.",
        "tester: pass.",
        "reviewer: changes requested. Say whom you greet.",
        "reviewer: approve.",
    }
    assert sum(told.values()) == len(run.verdicts)
    for round_ in (1, 2):
        assert talk.count(f"Round {round_} of rework begins.") == 1


def assert_verdicts_went_back(run: TeamRunDetailOut, told: dict[UUID, str]) -> None:
    assert [(verdict.round, verdict.outcome.value) for verdict in run.verdicts] == [
        (0, "fail"),
        (1, "pass"),
        (1, "changes_requested"),
        (2, "pass"),
        (2, "approve"),
    ]
    coders = {step.round: step for step in run.steps if step.role is TeamRole.CODER}
    for round_, instruction in ((1, "It is rude."), (2, "Say whom you greet.")):
        task_id = coders[round_].task_id
        assert task_id is not None
        assert instruction in told[task_id]

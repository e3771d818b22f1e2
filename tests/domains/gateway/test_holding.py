"""New orders wait for the first of their provider's keys, when all have reached their limits."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from agentvine.domains.gateway.enums import ModelWire
from agentvine.domains.gateway.holding import RUNTIMES, HoldingChores, wires_of
from agentvine.domains.gateway.limits import TOLD, UNTOLD
from agentvine.domains.gateway.upstreams import note_limit
from agentvine.domains.identity.enums import UserRole
from agentvine.domains.projects.models import Repository
from agentvine.domains.work.line_jobs import LimitChores
from agentvine.runtimes.registry import builtin_runtimes
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.builders.projects import make_project, make_repository
from tests.support.builders.tasks import make_task

in_loop = pytest.mark.asyncio(loop_scope="module")
HOUR = timedelta(hours=1)
SONNET = "claude-sonnet-4-5"


@dataclass
class Team:
    """An owner with a repository, a worker for all runtimes, and a provider with two keys."""

    api: Api
    owner: Caller
    admin: Caller
    worker: Caller
    repository: Repository
    queue: str
    provider: dict[str, Any]
    who: dict[str, Any]

    async def key(self, name: str, key: str) -> dict[str, Any]:
        """One more key of the provider's."""
        path = f"/model-providers/{self.provider['id']}/credentials"
        return await self.admin.post(path, {"name": name, "key": key})

    async def limit(self, key: dict[str, Any], for_: timedelta, reason: str = TOLD) -> datetime:
        """What the gateway does when the provider says so."""
        async with self.api.database.transaction() as tx:
            until = tx.now + for_
            await note_limit(tx, uuid.UUID(key["id"]), until, reason)
        return until

    async def task(self, runtime: str = "claude-code", **run: Any) -> str:
        """A new task, with an order in the queue; its id."""
        wanted: dict[str, Any] = {"runtime": runtime, "queue_name": self.queue} | run
        if runtime == "command":
            wanted["command"] = "true"
        async with self.api.database.transaction(self.owner.actor) as tx:
            task = await make_task(tx, self.owner.actor, self.repository, run=wanted)
        return str(task.id)

    async def claim(self, *, wait: float = 0) -> list[str]:
        """The tasks whose orders the worker gets now."""
        claimed = await self.worker.post(
            "/queue/claim",
            self.who | {"claim_token": unique("t" * 16), "slots": 9, "wait_seconds": wait},
        )
        return [order["payload"]["task_id"] for order in claimed["orders"]]

    async def why(self, task: str) -> list[dict[str, Any]]:
        """What is in a task's way."""
        return (await self.owner.get(f"/tasks/{task}/why"))["reasons"]


async def start(api: Api) -> tuple[Team, dict[str, Any], dict[str, Any]]:
    """A team, and the two keys of its provider."""
    owner = await api.person(unique("owner"))
    admin = await api.person(unique("admin"), UserRole.ADMIN)
    queue = unique("queue")
    async with api.database.transaction(owner.actor) as tx:
        project = await make_project(tx, owner.actor)
        repository = await make_repository(tx, owner.actor, project)
    worker = await api.worker(unique("token"))
    session = {"session_id": "00000000-0000-4000-8000-000000000001"}
    registered = await worker.post(
        "/workers/register",
        session
        | {"name": unique("w"), "queues": [queue], "max_concurrent_tasks": 20}
        | {"runtimes": ["command", "scripted", *sorted(RUNTIMES)]},
    )
    provider = await admin.post(
        "/model-providers",
        {"name": unique("claude"), "kind": "anthropic", "project_id": str(project.id)},
    )
    who = session | {"worker_id": registered["worker_id"]}
    team = Team(api, owner, admin, worker, repository, queue, provider, who)
    return team, await team.key("first", "key-1"), await team.key("second", "key-2")


def test_every_runtime_that_calls_models_is_known_with_its_language():
    registry = builtin_runtimes()
    uses = {name for name in registry.names if registry.get(name).uses_models}

    assert uses == RUNTIMES
    for name in RUNTIMES:
        assert wires_of(name, "claude-opus-5-5"), name
    assert wires_of("opencode", "gpt-5.5") == wires_of("aider", "gpt-5.5") == (ModelWire.OPENAI,)
    assert wires_of("command", "claude-opus-5-5") == ()


@in_loop
async def test_a_new_order_waits_for_the_first_key_and_says_so(shared_api: Api):
    team, first, second = await start(shared_api)
    await team.limit(first, 2 * HOUR)
    until = await team.limit(second, HOUR)

    task = await team.task()
    others = [await team.task("command"), await team.task("gemini"), await team.task("codex")]

    assert sorted(await team.claim()) == sorted(others), "the others need no key of these"
    [reason] = await team.why(task)
    assert reason["code"] == "provider_limited"
    assert datetime.fromisoformat(reason["facts"]["available_at"]) == until.replace(microsecond=0)
    assert "agentvine provider list" in reason["message"]


@in_loop
async def test_it_is_let_go_when_that_key_is_good_again(shared_api: Api):
    team, first, second = await start(shared_api)
    await team.limit(first, HOUR)
    until = await team.limit(second, timedelta(seconds=1.5))
    task = await team.task()

    assert await team.claim(wait=20) == [task]

    late = shared_api.database.clock.now() - until
    assert timedelta(0) <= late < timedelta(seconds=10)


@in_loop
@pytest.mark.parametrize("how", ["a key is added", "a key is replaced", "a key is removed"])
async def test_it_is_let_go_at_once_when_its_keys_are_changed(shared_api: Api, how: str):
    team, first, second = await start(shared_api)
    for key in (first, second):
        await team.limit(key, HOUR)
    task = await team.task()
    assert await team.claim() == []

    path = f"/provider-credentials/{first['id']}"
    if how == "a key is added":
        await team.key("third", "key-3")
    elif how == "a key is replaced":
        await team.admin.call("PATCH", path, json={"key": "key-4"})
    else:
        # Without a key there is nothing to wait for: the run says what to set.
        for key in (first, second):
            await team.admin.call("DELETE", f"/provider-credentials/{key['id']}")

    assert await team.claim(wait=9) == [task]


@in_loop
async def test_orders_that_wait_already_are_held_up_when_the_last_key_meets_its_limit(
    shared_api: Api,
):
    team, first, second = await start(shared_api)
    tasks = [await team.task(), await team.task()]
    chores = HoldingChores(shared_api.database)
    until = await team.limit(first, HOUR)
    await chores.look()
    codes = {each["code"] for task in tasks for each in await team.why(task)}
    assert codes == {"others_first"}
    await team.limit(second, 2 * HOUR)
    await chores.look()
    await LimitChores(shared_api.database).straighten()

    assert await team.claim() == []
    for task in tasks:
        [reason] = await team.why(task)
        at = datetime.fromisoformat(reason["facts"]["available_at"])
        assert at == until.replace(microsecond=0)


@in_loop
@pytest.mark.parametrize("case", ["one key is good", "an end is not told", "other provider"])
async def test_an_order_that_may_be_served_waits_for_nothing(shared_api: Api, case: str):
    team, first, second = await start(shared_api)
    await team.limit(first, HOUR)
    if case != "one key is good":
        await team.limit(second, HOUR, UNTOLD if case == "an end is not told" else TOLD)
    if case == "other provider":
        await team.admin.post(
            "/model-providers",
            {"name": unique("own"), "kind": "anthropic", "key": "key-9", "models": [SONNET]}
            | {"project_id": team.provider["project_id"]},
        )
        assert await team.claim() == []
        held = await team.task(model="claude-opus-5-5")
        task = await team.task(model=SONNET)
        # What its program asks for that is told no model, nobody knows.
        unknown = await team.task()
        assert sorted(await team.claim()) == sorted([task, unknown])
        assert [each["code"] for each in await team.why(held)] == ["provider_limited"]
        return
    task = await team.task()
    assert await team.claim() == [task]


@in_loop
async def test_an_order_that_is_given_to_another_runtime_goes_on(shared_api: Api):
    team, first, second = await start(shared_api)
    for key in (first, second):
        await team.limit(key, HOUR)
    task = await team.task()
    assert await team.claim() == []

    other = {"runtime": "scripted", "queue_name": team.queue}
    edited = await team.owner.call("PATCH", f"/tasks/{task}", json={"run": other})
    assert edited.is_success, edited.text
    assert await team.claim() == [task]


@in_loop
async def test_a_task_s_own_time_and_the_limits_of_its_queue_hold_after_the_wait(shared_api: Api):
    team, first, second = await start(shared_api)
    for key in (first, second):
        await team.limit(key, HOUR)
    not_before = shared_api.database.clock.now() + timedelta(minutes=30)
    later = await team.task(not_before=not_before)
    limit = {"scope": "queue", "key": team.queue, "capacity": 1}
    set_ = await team.admin.call("PUT", "/queue/limits", json=limit)
    assert set_.is_success, set_.text
    tasks = [await team.task(), await team.task()]
    assert await team.claim() == []

    await team.key("third", "key-3")
    await HoldingChores(shared_api.database).look()

    assert len(await team.claim()) == 1, "of the two, the queue lets one begin"
    codes = {each["code"] for task in tasks for each in await team.why(task)}
    assert codes == {"running", "limit_reached"}
    assert "not_before" in {each["code"] for each in await team.why(later)}

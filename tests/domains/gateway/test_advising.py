"""A rule hands what a run asks to a language model, on the project's account."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from agentvine.protocol.enums import UserRole
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.models import Model, scripted_model
from tests.support.space import Json, Space, WireWorker, claim_of, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANSWERS = "usage: {{input: 500, output: 50}}\nturns: [{{calls: [{{tool: answer, input: {}}}]}}]"
PUSH = {"kind": "permission", "tool_name": "Bash", "tool_input": {"command": "git push"}}


@asynccontextmanager
async def adviser(api: Api, verdict: str) -> AsyncGenerator[tuple[Space, Model]]:
    """A project whose rule for shells is to ask a model, which follows a script."""
    space = await make_space(api)
    admin = await api.person(unique("admin"), UserRole.ADMIN)
    rule = {"effect": "model", "tool": "Bash", "pattern": "*"}
    await space.owner.post(f"/projects/{space.project_id}/answer-rules", rule)
    async with scripted_model(ANSWERS.format(verdict)) as model:
        provider = {
            "name": unique("provider"),
            "kind": "anthropic",
            "key": unique("key"),
            "base_url": model.url,
            "models": ["claude-haiku-4-5"],
            "project_id": space.project_id,
        }
        await admin.post("/model-providers", provider)
        yield space, model


async def ask(space: Space) -> tuple[WireWorker, Json, Json]:
    await space.task(title="Mend the door")
    worker = await space.worker()
    order = await worker.claim_one()
    path = f"/executions/{order['execution_id']}/questions"
    asked = claim_of(order) | {"key": "1", "text": "Push?"} | PUSH
    return worker, order, await worker.caller.post(path, asked)


async def until_advised(space: Space, question: Json) -> Json:
    """The question, once the model has answered or people are to."""
    async with asyncio.timeout(60):
        while True:
            found = await space.owner.get(f"/questions/{question['id']}")
            if found["state"] != "open" or "A person is to be asked" in found["why"]:
                return found
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("decision", ["allow", "deny"])
async def test_the_model_s_verdict_is_the_answer_and_is_paid_for(shared_api: Api, decision: str):
    async with adviser(shared_api, f"{{decision: {decision}, reason: So.}}") as (space, model):
        _, order, question = await ask(space)
        answered = await until_advised(space, question)
        [request] = model.requests
    calls = await space.owner.get("/usage/calls", params={"execution_id": order["execution_id"]})

    assert answered["answer"]["decision"] == decision
    assert answered["answer"]["author"] == "language model claude-haiku-4-5"
    assert answered["answer"]["text"] == "So."
    told = str(request.body)
    assert "git push" in told
    assert "Mend the door" in told
    assert [call["tokens_out"] for call in calls["items"]] == [50]


async def test_a_model_that_cannot_tell_leaves_it_to_people(shared_api: Api):
    async with adviser(shared_api, "{decision: unsure, reason: Who knows.}") as (space, _):
        _, _, question = await ask(space)
        left = await until_advised(space, question)

    assert left["state"] == "open"
    assert "could not tell" in left["why"]


async def test_without_a_model_people_are_asked_and_told_what_to_set(shared_api: Api):
    space = await make_space(shared_api)
    rule = {"effect": "model", "tool": "Bash", "pattern": "*"}
    await space.owner.post(f"/projects/{space.project_id}/answer-rules", rule)
    _, _, question = await ask(space)
    left = await until_advised(space, question)

    assert left["state"] == "open"
    assert "agentvine provider add" in left["why"]

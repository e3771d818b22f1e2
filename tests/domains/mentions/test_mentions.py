"""A mentioned agent answers once: by a model on the project's account, or by a task."""

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select

from agentvine.db.session import ReadSession
from agentvine.domains.conversations.models import MessageMention
from agentvine.domains.gateway.doors import ModelDoors
from agentvine.domains.mentions.answering import MentionDesk
from agentvine.protocol.enums import UserRole
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.models import Model, scripted_model
from tests.support.space import Json, Space, make_space

# The first to ask a model loads its library, which takes a while on a busy machine.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

SCRIPT = "usage: {input: 500, output: 50}\nturns: [{text: 'It is **blue**.'}]"
MODEL = "claude-haiku-4-5"


@asynccontextmanager
async def with_model(api: Api, space: Space) -> AsyncGenerator[Model]:
    admin = await api.person(unique("admin"), UserRole.ADMIN)
    async with scripted_model(SCRIPT) as model:
        provider = {
            "name": unique("provider"),
            "kind": "anthropic",
            "key": unique("key"),
            "base_url": model.url,
            "models": [MODEL],
            "project_id": space.project_id,
        }
        await admin.post("/model-providers", provider)
        yield model


async def agent_of(space: Space, type_: str, **body: Any) -> Json:
    body = {"name": unique(type_), "type": type_, "project_id": space.project_id, **body}
    return await space.owner.post("/agents", body)


async def talk_of(space: Space) -> str:
    made = await space.owner.post("/conversations", {"project_id": space.project_id})
    return f"/conversations/{made['id']}"


async def until_settled(space: Space, talk: str) -> list[Json]:
    """All messages, once no mention waits."""
    async with asyncio.timeout(200):
        while True:
            items = (await space.owner.get(f"{talk}/messages"))["items"]
            if all(each["state"] != "waiting" for item in items for each in item["mentions"]):
                return items
            await asyncio.sleep(0.05)  # a chore of the server's; nothing tells us


async def test_a_mentioned_architect_answers_once_and_is_paid_for(shared_api: Api):
    space = await make_space(shared_api)
    agent = await agent_of(space, "architect", system_prompt="You love colours.")
    talk = await talk_of(space)
    for value, project_id in (("Blue sells.", space.project_id), ("Red sells.", None)):
        fact = {"category": "colour", "key": "best", "value": value, "project_id": project_id}
        await space.owner.call("PUT", f"/agents/{agent['id']}/memories", json=fact)
    async with with_model(shared_api, space) as model:
        await space.owner.post(f"{talk}/messages", {"content": "Nobody is asked `@nobody`."})
        asked = await space.owner.post(
            f"{talk}/messages",
            {"content": f"@{agent['name'].upper()}, which colour? @{agent['name']}!"},
        )
        items = await until_settled(space, talk)
        desk = MentionDesk(shared_api.database, shared_api.state.effect(ModelDoors))
        async with shared_api.database.read() as read:
            ids = [row.id for row in await all_mentions(read, asked)]
        await asyncio.gather(*(desk.answer(each) for each in ids * 5))
        [request] = model.requests
    total = await space.owner.get(talk)
    paid = await space.owner.get("/usage/calls", params={"project_id": space.project_id})

    [_, question, answer] = items
    assert question["mentions"][0]["reply_id"] == answer["id"]
    assert (answer["author_name"], answer["reply_to_id"]) == (agent["name"], asked["id"])
    assert answer["content_formatted"] == "<p>It is <strong>blue</strong>.</p>\n"
    assert (answer["tokens_in"], answer["tokens_out"]) == (500, 50)
    assert answer["model_used"] == MODEL
    assert (total["tokens_in"], total["tokens_out"]) == (500, 50)
    assert float(total["cost_usd"]) == float(answer["cost_usd"]) > 0
    [call] = paid["items"]
    assert (call["message_id"], call["tokens_in"]) == (answer["id"], 500)
    assert [each["name"] for each in total["participants"]] == [agent["name"]]
    assert len((await space.owner.get(f"{talk}/messages"))["items"]) == 3
    told = str(request.body)
    assert "You love colours." in told
    assert "- colour/best: Blue sells." in told
    assert "which colour?" in told


async def test_a_mentioned_coder_is_given_a_task(shared_api: Api):
    space = await make_space(shared_api)
    agent = await agent_of(space, "coder", model_settings={"runtime": "scripted"})
    talk = await talk_of(space)

    await space.owner.post(f"{talk}/messages", {"content": f"@{agent['name']} paint it blue"})
    [question, answer] = await until_settled(space, talk)

    [mention] = question["mentions"]
    task = await space.owner.get(f"/tasks/{mention['task_id']}")
    assert (task["agent_id"], task["repository_id"]) == (agent["id"], space.repository_id)
    assert "paint it blue" in task["title"]
    assert answer["content"] == f"I work on this as {task['ref']}."


async def test_what_a_token_may_not_do_it_does_not_do_by_an_agent(shared_api: Api):
    space = await make_space(shared_api)
    agent = await agent_of(space, "coder", model_settings={"runtime": "scripted"})
    talk = await talk_of(space)
    token = await space.owner.post(
        "/tokens", {"name": unique("t"), "scopes": ["conversations:write", "conversations:read"]}
    )
    limited = await shared_api.with_token(token["token"], space.owner.user)

    said = await limited.post(f"{talk}/messages", {"content": f"@{agent['name']} do it"})

    [mention] = said["mentions"]
    assert mention["state"] == "failed"
    assert "tasks:write" in mention["detail"]


async def test_why_nobody_answers_is_told(shared_api: Api):
    space = await make_space(shared_api)
    agent = await agent_of(space, "tester")  # it names no runtime
    other = await agent_of(await make_space(shared_api), "architect")
    talk = await talk_of(space)
    content = f"@{agent['name']} and @{other['name']}, and mail@{agent['name']}"

    await space.owner.post(f"{talk}/messages", {"content": content})
    [question, *_] = await until_settled(space, talk)

    [mention] = question["mentions"]
    assert mention["agent_id"] == agent["id"]
    assert mention["state"] in {"failed", "answered"}


async def all_mentions(read: ReadSession, message: Json) -> list[MessageMention]:
    query = select(MessageMention).where(MessageMention.message_id == uuid.UUID(message["id"]))
    return list(await read.scalars(query))

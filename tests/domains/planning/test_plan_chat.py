"""The dialogue in which a plan is made: what is heard, kept, proposed, broken off, accepted."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agentvine.domains.planning.answering import ChatDesk
from agentvine.domains.planning.briefing import draw_map
from agentvine.domains.planning.chat_log import STALE, read_entries, write_entries
from agentvine.domains.plans.models import ChatSession
from agentvine.protocol.enums import UserRole
from agentvine.protocol.planning_chat import ChatState
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.builders.plans import Desk, Json, changes, feature, make_desk
from tests.support.models import Model, scripted_model
from tests.support.repositories import make_repo

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "claude-haiku-4-5"
USAGE = "usage: {input: 1000, output: 100}\n"
STEPS = """
turns:
  - text: "Let us dig first."
    calls:
      - tool: propose_implementation_steps
        input: {steps: [{key: dig, title: Dig, files: [beds.txt]}]}
    repeat: forever
"""


class Talk:
    """A chat about a plan of somebody who has a model."""

    def __init__(self, desk: Desk, plan: Json, chat: Json, model: Model) -> None:
        self.desk = desk
        self.plan = plan
        self.model = model
        self.path = f"/plans/{plan['id']}/chat/{chat['id']}"
        self.id = UUID(chat["id"])

    async def say(self, text: str, **fields: Any) -> Json:
        """Say something, and wait for the end of the answer."""
        body = {"text": text, "model": MODEL, **fields}
        await self.desk.owner.post(f"{self.path}/messages", body)
        return await self.answer()

    async def answer(self) -> Json:
        """The last message, once nobody writes it any more."""
        async with asyncio.timeout(60):
            while True:
                last: Json = (await self.desk.owner.get(self.path))["messages"][-1]
                if last["state"] != "answering":
                    return last
                await asyncio.sleep(0.05)  # the server's own task; nothing tells us


@asynccontextmanager
async def talking(api: Api, folder: Path, script: str) -> AsyncIterator[Talk]:
    """A repository, a plan, a chat about it, and a model that follows a script."""
    files = {"beds.txt": "rows\n", "src/app.py": "def plant(seed):\n    return seed\n"}
    repo = make_repo(folder / "repository", files)
    desk = await make_desk(api, path=str(repo.path))
    admin = await api.person(unique("admin"), UserRole.ADMIN)
    async with scripted_model(script) as model:
        provider = {
            "name": unique("scripted"),
            "kind": "anthropic",
            "key": "sk-canary-0123456789",
            "base_url": model.url,
            "models": [MODEL],
            "project_id": desk.project_id,
        }
        await admin.post("/model-providers", provider)
        plan = await desk.plan(feature(goal="Grow greens."))
        chat = await desk.owner.post(f"/plans/{plan['id']}/chat")
        yield Talk(desk, plan, chat, model)


async def test_an_answer_is_kept_with_its_cost_and_its_proposal_saved_when_accepted(
    shared_api: Api, tmp_path: Path
):
    async with talking(shared_api, tmp_path, USAGE + STEPS) as talk:
        answer = await talk.say("How do we begin?", files=["beds.txt"])
        before = await talk.desk.owner.get(f"/plans/{talk.plan['id']}")
        [proposal] = answer["proposals"]
        accept = f"{talk.path}/proposals/{proposal['id']}/accept"
        artifacts = [await talk.desk.owner.post(accept) for _ in range(2)]
        after = await talk.desk.owner.get(f"/plans/{talk.plan['id']}")
        second = await talk.say("And then?", model=None)
        ended = await talk.desk.owner.post(f"{talk.path}/complete")
        late = await talk.desk.owner.refused(
            "POST", f"{talk.path}/messages", 409, json={"text": "x"}
        )
        of_project = {"project_id": talk.desk.project_id}
        calls = await talk.desk.owner.get("/usage/calls", params=of_project)
        sent = json.dumps(talk.model.requests[0].body)
        again = json.dumps(talk.model.requests[1].body)

    assert (answer["text"], answer["state"], answer["model"]) == (
        *("Let us dig first.", "complete", MODEL),
    )
    assert (answer["tokens_in"], answer["tokens_out"]) == (1000, 100)
    assert Decimal(answer["cost_usd"]) == sum(
        Decimal(row["cost_usd"]) for row in calls["items"]
    ) / len(calls["items"])
    assert proposal["problem"] is None
    assert [part["artifact_type"] for part in before["artifacts"]] == ["feature_plan"]
    assert artifacts[0]["id"] == artifacts[1]["id"]
    assert "## dig: Dig" in after["text"]
    # It saw the plan, the map and the file; and what was said before.
    for words in ("Grow greens.", "src/app.py: plant", "The file beds.txt", "How do we begin?"):
        assert words in sent, words
    assert "You proposed: implementation_steps" in again
    assert second["state"] == "complete"
    assert (ended["status"], late["code"]) == ("completed", "plan_chat_over")
    assert [row["role"] for row in ended["messages"]] == ["user", "assistant"] * 2


async def test_the_model_reads_documents_that_were_chosen_by_id_or_tag_as_far_as_there_is_room(
    shared_api: Api, tmp_path: Path
):
    async with talking(shared_api, tmp_path, USAGE + STEPS) as talk:
        owner = talk.desk.owner
        place = {"project_id": talk.desk.project_id, "document_type": "guide"}

        async def write(title: str, content: str, *tags: str) -> str:
            body = place | {"title": title, "content": content, "tags": list(tags)}
            return str((await owner.post("/documents", body))["id"])

        soil = await write("Soil", "Peat is not wanted.")
        await write("Watering", "Every second day.", "garden")
        await write("Unasked", "Nobody asks for this.", "kitchen")
        await write("Long", "mulch " * 8_000 + "Slugs come at night. " + "mulch " * 8_000, "long")
        answer = await talk.say("What about slugs?", documents=[soil], tags=["Garden", "long"])
        [said, _] = (await owner.get(talk.path))["messages"]
        await owner.call("DELETE", f"/documents/{soil}")
        await talk.say("And what else?")
        first, second = (json.dumps(request.body) for request in talk.model.requests)

        stranger = await make_desk(shared_api)
        theirs = place | {"title": "T", "content": "C", "project_id": stranger.project_id}
        elsewhere = (await stranger.owner.post("/documents", theirs))["id"]
        path, codes = f"{talk.path}/messages", list[str]()
        for ids in ([elsewhere], ["00000000-0000-0000-0000-000000000000"]):
            body = {"text": "Read it.", "documents": ids}
            codes.append((await owner.refused("POST", path, 404, json=body))["code"])

    assert answer["state"] == "complete"
    assert (said["documents"], said["tags"]) == ([soil], ["garden", "long"])
    for words in ("document Soil, version 1", "Peat is not", "Every second day.", "at night"):
        assert words in first, words
    assert "Nobody asks" not in first
    assert "Only a part" in first
    assert first.count("mulch") < 200
    # The choice holds for the whole dialogue; what is gone is left out.
    assert "Every second day." in second
    assert "Peat is not" not in second
    assert codes == ["document_not_found"] * 2


async def test_the_model_sees_the_plan_s_code_changes_as_far_as_there_is_room(
    shared_api: Api, tmp_path: Path
):
    async with talking(shared_api, tmp_path, USAGE + STEPS) as talk:
        path = f"/plans/{talk.plan['id']}/artifacts"
        new = {"path": "seeds.txt", "operation": "create", "content": "carrots\n"}
        await talk.desk.owner.post(path, changes(new))
        await talk.say("What is there?")
        await talk.desk.owner.post(path, changes(new | {"content": "carrots\n" * 20_000}))
        await talk.say("And now?")
        first, second = (json.dumps(request.body) for request in talk.model.requests)

    assert "create seeds.txt" in first
    assert "has no room here" not in first
    assert second.count("carrots") < 15_000
    assert "The rest of the plan has no room here." in second
    assert "src/app.py: plant" in second


async def test_a_proposal_that_does_not_fit_is_sent_back_and_never_saved(
    shared_api: Api, tmp_path: Path
):
    lost = "{key: a, title: A, depends_on: [b]}"
    bad = f"{{tool: propose_implementation_steps, input: {{steps: [{lost}]}}}}"
    script = f"turns: [{{text: One., calls: [{bad}], repeat: 2}}, {{text: Two., calls: [{bad}]}}]"
    async with talking(shared_api, tmp_path, script) as talk:
        answer = await talk.say("Plan it.")
        [proposal] = answer["proposals"]
        path = f"{talk.path}/proposals/{proposal['id']}/accept"
        problem = await talk.desk.owner.refused("POST", path, 409)

    assert (answer["state"], len(talk.model.requests)) == ("complete", 3)
    assert answer["text"] == "One.\n\nOne.\n\nTwo."
    assert "which is no step" in proposal["problem"]
    assert "which is no step" in json.dumps(talk.model.requests[1].body)
    assert problem["code"] == "plan_proposal_unusable"


async def test_an_answer_is_heard_as_it_comes_and_where_one_left_off(
    shared_api: Api, tmp_path: Path
):
    words = "one two three four five"
    script = f"turns: [{{text: {words}, chunk: 4, pace: 0.05}}]"
    async with talking(shared_api, tmp_path, script) as talk:
        await talk.say("Count.")
        events = await heard(talk)
        later = await heard(talk, {"Last-Event-ID": "1.8"})

    assert [kind for kind, _ in events][-2:] == ["message", "end"]
    assert "".join(data["text"] for kind, data in events if kind == "delta") == words
    assert "".join(data["text"] for kind, data in later if kind == "delta") == words[8:]
    assert [data["role"] for kind, data in later if kind == "message"] == ["assistant"]


async def heard(talk: Talk, headers: dict[str, str] | None = None) -> list[tuple[str, Json]]:
    response = await talk.desk.owner.call("GET", f"{talk.path}/stream", headers=headers or {})
    events: list[tuple[str, Json]] = []
    for block in response.text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


async def test_a_server_that_stops_in_the_middle_leaves_a_part_that_can_be_asked_again(
    shared_api: Api, tmp_path: Path
):
    # It would go on for minutes.
    script = f"turns: [{{text: {'word ' * 200}end, chunk: 5, pace: 0.5, repeat: forever}}]"
    async with talking(shared_api, tmp_path, script) as talk:
        body = {"text": "Tell me.", "model": MODEL}
        await talk.desk.owner.post(f"{talk.path}/messages", body)
        busy = await talk.desk.owner.refused("POST", f"{talk.path}/messages", 409, json=body)
        broken: list[Json] = []
        for _ in range(2):
            async with asyncio.timeout(60):
                while True:
                    if (await talk.desk.owner.get(talk.path))["messages"][-1]["text"]:
                        break
                    await asyncio.sleep(0.02)  # the model speaks; nothing tells us
            await shared_api.state.effect(ChatDesk).close()
            broken.append(await talk.answer())
            await talk.desk.owner.post(f"{talk.path}/again")
        await shared_api.state.effect(ChatDesk).close()
        states = [row["state"] for row in (await talk.desk.owner.get(talk.path))["messages"]]

    assert busy["code"] == "plan_chat_busy"
    assert [row["state"] for row in broken] == ["interrupted"] * 2
    assert all(row["text"].startswith("word") for row in broken)
    assert broken[0]["id"] != broken[1]["id"]
    assert states == ["complete", *["interrupted"] * 3]


async def test_an_answer_whose_server_is_gone_is_taken_for_interrupted(
    shared_api: Api, tmp_path: Path
):
    async with talking(shared_api, tmp_path, "turns: [{text: Here., repeat: forever}]") as talk:
        await talk.say("Where?")
        async with shared_api.database.transaction() as tx:
            session = await tx.get_one(ChatSession, talk.id)
            entries = read_entries(session, tx.now)
            # As SIGKILL leaves it: nobody has said that it is over.
            entries[-1].text, entries[-1].state = "He", ChatState.ANSWERING
            entries[-1].renewed_at = tx.now - STALE - timedelta(seconds=1)
            write_entries(session, entries)
        left = (await talk.desk.owner.get(talk.path))["messages"][-1]
        await talk.desk.owner.post(f"{talk.path}/again")
        whole = await talk.answer()

    assert (left["text"], left["state"], whole["text"]) == ("He", "interrupted", "Here.")


async def test_a_model_that_cannot_be_asked_is_told_and_can_be_asked_again(
    shared_api: Api, tmp_path: Path
):
    script = "turns: [{faults: [{status: 400}], text: Now.}]"
    async with talking(shared_api, tmp_path, script) as talk:
        lacking = await talk.desk.owner.refused(
            "POST", f"{talk.path}/messages", 422, json={"text": "x"}
        )
        failed = await talk.say("Well?")
        await talk.desk.owner.post(f"{talk.path}/again")
        whole = await talk.answer()
        done = await talk.desk.owner.refused("POST", f"{talk.path}/again", 409)

    assert done["code"] == "plan_chat_answered"
    assert lacking["code"] == "plan_chat_model_missing"
    assert failed["state"] == "failed"
    assert MODEL in failed["error"]
    assert whole["text"] == "Now."


async def test_a_map_has_the_room_that_it_is_given():
    paths = [f"src/module_{number:03}.py" for number in range(300)]
    names = {path: ["one", "Two"] for path in paths}

    text = draw_map(paths, names, 1000)

    assert len(text) <= 4100
    assert text.startswith("src/module_000.py: one, Two\n")
    assert text.endswith(" more files")

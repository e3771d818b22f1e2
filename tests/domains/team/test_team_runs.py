"""Team runs as their owner sees them: the whole way, what is refused, and what a person decides."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from agentvine.domains.gateway.doors import ModelDoors
from agentvine.domains.team.desk import TeamDesk
from agentvine.protocol.enums import UserRole
from agentvine.server.effects import build_effects
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.changes import Workshop, make_workshop
from tests.support.models import Model, scripted_model
from tests.support.space import Json, Space
from tests.support.tools import using_tools

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

MODEL = "claude-haiku-4-5"
PLAN = {
    "feature_plan": {"goal": "Greet."},
    "steps": [
        {"key": "greet", "title": "Greet", "files": ["greet.txt"]},
        {"key": "wave", "title": "Wave", "depends_on": ["greet"]},
    ],
}
RED = {"outcome": "fail", "findings": [{"path": "greet.txt", "line": 1, "text": "It is rude."}]}
GREEN = {"outcome": "pass", "summary": "All is well."}
REVIEWS = """
mode: sequence
usage: {input: 1000, output: 100}
turns:
  - calls:
      - tool: answer
        input:
          outcome: changes_requested
          findings: [{path: wave.txt, line: 1, severity: minor, text: Wave longer.}]
  - calls:
      - tool: answer
        input: {outcome: approve, summary: As it should be.}
"""


@dataclass
class Team:
    """A run, and the hands of its agents."""

    shop: Workshop
    run: Json

    async def get(self) -> Json:
        found: Json = await self.shop.space.owner.get(f"/team-runs/{self.run['id']}")
        return found

    async def until(self, *statuses: str) -> Json:
        """The run, once it stands there; the server goes on by itself."""
        async with asyncio.timeout(150):
            while True:
                now = await self.get()
                if now["status"] in statuses:
                    return now
                await asyncio.sleep(0.05)

    async def question(self) -> Json:
        """What is asked about its plan, once that is in the inbox."""
        wanted = {"state": "open", "project_id": self.shop.space.project_id}
        async with asyncio.timeout(150):
            while True:
                found = (await self.shop.space.owner.get("/questions", params=wanted))["items"]
                if found:
                    question: Json = found[0]
                    return question
                await asyncio.sleep(0.05)

    async def until_asked(self) -> Json:
        """The run, once the change of the whole waits for approval."""
        async with asyncio.timeout(150):
            while True:
                now = await self.get()
                if now["status"] == "delivering" and now["status_reason"]:
                    return now
                await asyncio.sleep(0.05)

    async def order(self) -> Json:
        """The next order of the queue, when it is there."""
        for _ in range(150):
            orders = await self.shop.worker.claim(wait_seconds=1, slots=1)
            if orders:
                return orders[0]
        pytest.fail(f"nothing came: {await self.get()}")

    async def answer(self, answer: Json | str) -> Json:
        """Let the next task's run leave this answer; its order."""
        order = await self.order()
        assert order["payload"]["wants_answer"]
        text = answer if isinstance(answer, str) else json.dumps(answer)
        await self.shop.worker.complete(order, exit_code=0, answer=text)
        return order

    async def build(self, files: dict[str, str]) -> Json:
        """Let the next task's run change files on the branch that it works on."""
        return await self._change(lambda clone: clone.commit(files, "Build"))

    async def merge(self) -> Json:
        """Let the run that delivers do what its command says."""

        def merge(clone: Any) -> str:
            branch = f"refs/remotes/origin/{self.run['branch_name']}"
            clone.git("merge", "-q", "--no-ff", "--no-edit", branch)
            return str(clone.head)

        return await self._change(merge)

    async def _change(self, work: Any) -> Json:
        order = await self.order()
        await self.report(order, await self.send(order, work))
        return order

    async def send(self, order: Json, work: Any) -> Json:
        """Let a task's run change files where its branch stands now, and send the commits."""
        payload = order["payload"]
        clone = self.shop.clone()
        clone.git(
            "switch", "-q", "-C", payload["branch_name"], f"origin/{payload['target_branch']}"
        )
        base = clone.head
        head = work(clone)
        bundle = clone.path / "change.bundle"
        clone.git("bundle", "create", "-q", bundle, payload["branch_name"], f"^{base}")
        stored = await self.shop.worker.put_bundle(order, bundle.read_bytes())
        return {
            "base_commit": base,
            "head_commit": head,
            "branch_name": payload["branch_name"],
            "target_branch": payload["target_branch"],
            "files": [],
            "bundle_sha256": stored.json()["sha256"],
        }

    async def report(self, order: Json, change: Json) -> None:
        """Let such a run end well."""
        tests = {"command": "true", "exit_code": 0, "passed": True, "duration_seconds": 0.1}
        await self.shop.worker.complete(order, exit_code=0, tests=tests, change=change)

    async def until_coded(self, count: int) -> None:
        """Until so many coders' changes are merged."""
        async with asyncio.timeout(150):
            while True:
                steps = (await self.get())["steps"]
                done = [each for each in steps if each["role"] == "coder"]
                if sum(each["status"] == "completed" for each in done) == count:
                    return
                await asyncio.sleep(0.05)

    def outsider(self, files: dict[str, str]) -> None:
        """Somebody else commits to the team's branch."""
        clone = self.shop.clone()
        clone.git("switch", "-q", self.run["branch_name"])
        clone.commit(files, "Meanwhile")
        clone.git("push", "-q", "origin", self.run["branch_name"])

    async def approve(self, **body: Any) -> Json:
        made: Json = await self.shop.space.owner.post(f"/team-runs/{self.run['id']}/approve", body)
        return made


async def begin(api: Api, folder: Path, *, shop: Workshop | None = None, **fields: Any) -> Team:
    shop = shop or await make_workshop(api, folder)
    part = {"run": {"command": "work", "queue_name": shop.space.queue}}
    roles = dict.fromkeys(("architect", "coder", "tester", "reviewer"), part)
    body = {"goal": "Greet whoever comes.", "repository_id": shop.space.repository_id, **roles}
    return Team(shop, await shop.space.owner.post("/team-runs", {**body, **fields}))


@asynccontextmanager
async def with_model(api: Api, space: Space, script: str) -> AsyncIterator[Model]:
    admin = await api.person(unique("admin"), UserRole.ADMIN)
    async with scripted_model(script) as model:
        provider = {
            "name": unique("scripted"),
            "kind": "anthropic",
            "key": "sk-canary-0123456789",
            "base_url": model.url,
            "models": [MODEL],
            "project_id": space.project_id,
        }
        await admin.post("/model-providers", provider)
        yield model


@pytest.mark.slow
async def test_a_red_test_round_and_a_rejected_review_end_merged_after_two_rounds(
    shared_api: Api, tmp_path: Path
):
    team = await begin(shared_api, tmp_path, reviewer={})
    owner, repo = team.shop.space.owner, team.shop.repo
    async with with_model(shared_api, team.shop.space, REVIEWS):
        await team.answer(PLAN)
        planned = await team.until("awaiting_approval")
        assert repo.git("branch", "--list", "agentvine/*") == ""
        await team.approve()
        greet = await team.build({"greet.txt": "go away\n"})
        await team.build({"wave.txt": "short\n"})
        tested = await team.answer(RED)
        rework = await team.build({"greet.txt": "hello\n"})
        await team.answer(GREEN)
        waved = await team.build({"wave.txt": "long\n"})
        await team.answer(GREEN)
        await team.merge()
        ready = await team.until_asked()
        assert (planned["status_reason"] or "").startswith("its plan waits")
        [change] = [
            each
            for each in (await owner.get("/modifications", params={"status": "pending"}))["items"]
            if each["target_branch"] == "main"
        ]
        assert repo.git("ls-tree", "--name-only", "main", "greet.txt") == ""
        await team.shop.decide(change, "approve")
        done = await team.until("completed")

    # Each was told what it needs, on the branch of the team.
    assert greet["payload"]["target_branch"] == done["branch_name"]
    assert tested["payload"]["target_branch"] == done["branch_name"]
    assert "greet.txt:1: It is rude." in rework["payload"]["description"]
    assert "wave.txt:1: Wave longer." in waved["payload"]["description"]
    # All of it came in, and nothing before it was approved.
    assert ready["status"] == "delivering"
    assert repo.git("show", "main:greet.txt") == "hello"
    assert repo.git("show", "main:wave.txt") == "long"
    assert repo.git("branch", "--list", "agentvine/*") == ""
    assert_all_is_on_the_record(done, tested["execution_id"])
    talk = await owner.get(f"/conversations/{done['conversation_id']}/chat")
    texts = "\n".join(each["text"] for each in talk["items"])
    for words in ("Greet whoever comes.", "The plan is approved.", "It is rude.", "Wave longer."):
        assert words in texts
    await assert_messages_tell_what_models_cost(owner, done)
    async with asyncio.timeout(150):
        while True:
            if (await owner.get(f"/plans/{done['plan_id']}"))["status"] == "completed":
                break
            await asyncio.sleep(0.05)


async def assert_messages_tell_what_models_cost(owner: Caller, done: Json) -> None:
    messages = (await owner.get(f"/conversations/{done['conversation_id']}/messages"))["items"]
    assert sum(each["tokens_in"] + each["tokens_out"] for each in messages) == done["total_tokens"]
    assert sum(float(each["cost_usd"]) for each in messages) == float(done["total_cost_usd"])
    assert any("Wave longer." in each["content"] for each in messages)
    assert any(
        "<li>[minor] wave.txt:1: Wave longer.</li>" in each["content_formatted"]
        for each in messages
    )


def assert_all_is_on_the_record(done: Json, tested_by: str) -> None:
    said = [(each["round"], each["role"], each["outcome"]) for each in done["verdicts"]]
    assert said == [
        (0, "tester", "fail"),
        (1, "tester", "pass"),
        (1, "reviewer", "changes_requested"),
        (2, "tester", "pass"),
        (2, "reviewer", "approve"),
    ]
    assert done["verdicts"][0]["findings"] == [
        {"path": "greet.txt", "line": 1, "severity": "major", "text": "It is rude."}
    ]
    assert done["verdicts"][0]["execution_id"] == tested_by
    roles = [(each["round"], each["role"]) for each in done["steps"]]
    assert roles.count((0, "coder")) == 2
    assert len(roles) == 1 + 2 + 1 + (1 + 1 + 1) * 2 + 1
    assert done["total_tokens"] == 2 * 1100
    assert float(done["total_cost_usd"]) == sum(float(each["cost_usd"]) for each in done["steps"])
    assert float(done["total_cost_usd"]) > 0


async def test_a_model_that_is_asked_knows_the_rules_documents_and_memories_of_its_agent(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path, {"RULES.md": "Plan in threes.\n"})
    space = shop.space
    of_project = {"project_id": space.project_id}
    agent = {"name": unique("architect"), "type": "architect", "rules_file_path": "./RULES.md"}
    made = await space.owner.post("/agents", agent | of_project)
    fact = {"category": "taste", "key": "tone", "value": "Greet softly.", "importance": 9}
    await space.owner.call("PUT", f"/agents/{made['id']}/memories", json=fact | of_project)
    page = {"title": "Manners", "document_type": "guide", "content": "Bow first."}
    document = await space.owner.post("/documents", page | of_project)
    rule = {"document_id": document["id"], "task_type": "docs"}
    await space.owner.post(f"/projects/{space.project_id}/document-rules", rule)
    answers = {"mode": "sequence", "turns": [{"calls": [{"tool": "answer", "input": PLAN}]}]}

    async with with_model(shared_api, space, json.dumps(answers)) as model:
        team = await begin(shared_api, tmp_path, shop=shop, architect={})
        await team.until("awaiting_approval")
        [request] = model.requests

    told = str(request.body)
    for words in ("Plan in threes.", "taste/tone: Greet softly.", "Manners", "Bow first."):
        assert words in told


async def test_a_coder_whose_change_conflicts_begins_anew_and_is_told_where(
    shared_api: Api, tmp_path: Path
):
    team = await begin(shared_api, tmp_path, permission="autonomous", max_rounds=1)
    await team.answer({**PLAN, "steps": [{"key": key, "title": key} for key in ("hail", "wave")]})
    orders = [await team.order() for _ in range(2)]
    changes = [
        await team.send(order, lambda clone, n=n: clone.commit({"greet.txt": f"{n}\n"}, "Build"))
        for n, order in enumerate(orders)
    ]
    await team.report(orders[0], changes[0])
    await team.until_coded(1)
    await team.report(orders[1], changes[1])
    again = await team.build({"greet.txt": "0 and 1\n"})
    await team.answer(GREEN)

    first, second = (order["payload"] for order in (orders[1], again))
    assert second["task_ref"] == first["task_ref"]
    assert second["description"].startswith(first["description"])
    now = await team.until("reviewing")
    assert f"have merged into {now['branch_name']}: greet.txt" in second["description"]
    assert team.shop.repo.git("show", f"{now['branch_name']}:greet.txt") == "0 and 1"
    assert (now["round"], [each["outcome"] for each in now["verdicts"]]) == (0, ["pass"])
    task_id = next(each["task_id"] for each in now["steps"] if each["ref"] == first["task_ref"])
    found = await team.shop.space.owner.get("/modifications", params={"task_id": task_id})
    assert [each["status"] for each in found["items"]] == ["applied", "rejected"]
    assert "greet.txt" in found["items"][1]["decision_reason"]
    talk = await team.shop.space.owner.get(f"/conversations/{now['conversation_id']}/chat")
    assert any("begins anew" in each["text"] for each in talk["items"])


async def test_one_who_still_conflicts_after_all_rounds_waits_for_a_person(
    shared_api: Api, tmp_path: Path
):
    team = await begin(shared_api, tmp_path, permission="autonomous", max_rounds=1)
    await team.answer({**PLAN, "steps": [{"key": "greet", "title": "Greet"}]})
    for number in range(2):
        order = await team.order()
        change = await team.send(order, lambda clone: clone.commit({"greet.txt": "hi\n"}, "Build"))
        team.outsider({"greet.txt": f"not yet {number}\n"})
        await team.report(order, change)

    stuck = await team.until("waiting")

    assert "is not merged: " in stuck["status_reason"]
    assert "greet.txt" in stuck["status_reason"]


async def test_an_answer_that_does_not_fit_is_asked_for_once_more_and_then_the_run_fails(
    shared_api: Api, tmp_path: Path
):
    team = await begin(shared_api, tmp_path)

    await team.answer("no JSON")
    second = await team.answer({"feature_plan": {"goal": "x"}, "steps": []})
    failed = await team.until("failed")

    assert "An earlier answer was not taken: it is no JSON" in second["payload"]["description"]
    assert failed["status_reason"].startswith("the architect gave no usable answer: steps")
    assert [bool(each["problem"]) for each in failed["steps"]] == [True, True]


async def test_however_many_look_at_once_each_step_begins_once(shared_api: Api, tmp_path: Path):
    team = await begin(shared_api, tmp_path, permission="autonomous")
    database, doors = shared_api.database, shared_api.state.effect(ModelDoors)

    async def look() -> None:
        """Twenty servers at once, each as after a restart: it knows nothing but the rows."""
        fresh = [build_effects(shared_api.settings, database) for _ in range(20)]
        desks = [TeamDesk(database, each.desk, each.reader, doors) for each in fresh]
        await asyncio.gather(*(desk.advance(UUID(team.run["id"])) for desk in desks))

    await look()
    await team.answer(PLAN)
    await look()
    await team.build({"greet.txt": "hello\n"})
    await look()

    roles = [(each["role"], each["round"], each["number"]) for each in (await team.get())["steps"]]
    assert sorted(roles) == [("architect", 0, 1), ("coder", 0, 1), ("coder", 0, 2)]
    tasks = await team.shop.space.owner.get(
        "/tasks", params={"project_id": team.shop.space.project_id}
    )
    assert len(tasks["items"]) == 3


@pytest.mark.parametrize(
    ("door", "state", "status"),
    [
        ("answer", "answered", "building"),
        ("approve", "answered", "building"),
        ("refuse", "answered", "cancelled"),
        ("approve_team_run", "answered", "building"),
        ("cancel_team_run", "withdrawn", "cancelled"),
    ],
)
async def test_a_plan_is_asked_about_in_the_inbox_and_whichever_door_is_used_closes_it(
    shared_api: Api, tmp_path: Path, door: str, state: str, status: str
):
    team = await begin(shared_api, tmp_path)
    owner, path = team.shop.space.owner, f"/team-runs/{team.run['id']}"
    await team.answer(PLAN)
    asked = await team.question()

    match door:
        case "answer":
            await owner.post(f"/questions/{asked['id']}/answer", {"decision": "allow"})
        case "refuse":
            no = {"decision": "deny", "text": "Too short."}
            await owner.post(f"/questions/{asked['id']}/answer", no)
        case "approve":
            await owner.post(f"{path}/approve", {})
        case _:
            async with using_tools(shared_api, owner.http.headers["authorization"][7:]) as tools:
                assert team.run["id"] in await tools.use(
                    "list_team_runs", status="awaiting_approval"
                )
                assert team.run["id"] in await tools.use(door, team_run_id=team.run["id"])

    now = await team.until(status)
    late = {"decision": "deny", "text": "No."}
    answered = await owner.refused("POST", f"/questions/{asked['id']}/answer", 409, json=late)
    approved = await owner.refused("POST", f"{path}/approve", 409, json={})
    assert (asked["kind"], asked["team_run_id"], asked["task_id"]) == ("plan", now["id"], None)
    assert "- greet: Greet: greet.txt\n- wave (after greet): Wave" in asked["text"]
    assert (await owner.get(f"/questions/{asked['id']}"))["state"] == state
    assert answered["type"].endswith("question_settled")
    is_over = status == "cancelled"
    assert approved["type"].endswith("team_run_over" if is_over else "team_nothing_to_approve")
    assert (door == "refuse") == ("Too short." in (now["status_reason"] or ""))


async def test_another_version_that_somebody_has_accepted_by_hand_stops_the_run_once(
    shared_api: Api, tmp_path: Path
):
    team = await begin(shared_api, tmp_path)
    owner = team.shop.space.owner
    await team.answer(PLAN)
    plan_id = (await team.until("awaiting_approval"))["plan_id"]
    second = await owner.post(f"/plans/{plan_id}/revise")
    others = {"steps": [{"key": "greet", "title": "Greet otherwise"}]}
    part = {"artifact_type": "implementation_steps", "content": others}
    await owner.post(f"/plans/{second['id']}/artifacts", part)
    by_hand = {"run": {"command": "work"}, "start": False}
    await owner.post(f"/plans/{second['id']}/accept", by_hand)

    await team.approve()
    stuck = await team.until("waiting")

    assert "`--reconcile`" in stuck["status_reason"]
    assert [each["role"] for each in stuck["steps"]] == ["architect"]
    assert (await owner.get(f"/plans/{second['id']}"))["status"] == "active"
    talk = await owner.get(f"/conversations/{stuck['conversation_id']}/chat")
    assert not any("The plan is accepted" in each["text"] for each in talk["items"])


async def test_a_task_made_by_hand_for_another_branch_is_left_to_a_person(
    shared_api: Api, tmp_path: Path
):
    team = await begin(shared_api, tmp_path)
    owner = team.shop.space.owner
    await team.answer({**PLAN, "steps": [{"key": "greet", "title": "Greet"}]})
    plan_id = (await team.until("awaiting_approval"))["plan_id"]
    await owner.call("PATCH", f"/plans/{plan_id}", json={"target_branch": "main"})
    by_hand = {"run": {"command": "work", "queue_name": team.shop.space.queue}}
    await owner.post(f"/plans/{plan_id}/accept", by_hand)

    await team.approve()
    await team.build({"greet.txt": "hello\n"})
    stuck = await team.until("waiting")

    assert stuck["status_reason"].endswith("waits for your approval")
    assert team.shop.repo.git("ls-tree", "--name-only", "main", "greet.txt") == ""


async def test_what_a_run_does_not_wait_for_cannot_be_approved_and_its_end_ends_its_tasks(
    shared_api: Api, tmp_path: Path
):
    team = await begin(shared_api, tmp_path)
    owner, path = team.shop.space.owner, f"/team-runs/{team.run['id']}"

    refused = await owner.refused("POST", f"{path}/approve", 409, json={})
    ended = [await owner.post(f"{path}/cancel", {"reason": "enough"}) for _ in range(2)]
    late = await owner.refused("POST", f"{path}/approve", 409, json={})

    assert refused["type"].endswith("team_nothing_to_approve")
    assert [each["status"] for each in ended] == ["cancelled", "cancelled"]
    assert late["type"].endswith("team_run_over")
    assert {each["status"] for each in (await team.get())["steps"]} <= {"cancelled"}


async def test_a_team_without_a_tester_is_refused(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    body = {
        "goal": "Greet.",
        "repository_id": shop.space.repository_id,
        "coder": {"run": {"command": "true"}},
    }
    problem = await shop.space.owner.refused("POST", "/team-runs", 422, json=body)
    assert (problem["type"].rpartition(":")[2], problem["role"]) == ("team_incomplete", "tester")

"""Plans by tools: a run proposes, a person's assistant drafts and shows, and the person accepts."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.changes import make_workshop
from tests.support.space import Space, make_space
from tests.support.tools import tool_key, using_tools

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS: list[dict[str, Any]] = [
    {"key": "model", "title": "Make the table", "files": ["src/model.py"], "type": "refactor"},
    {"key": "route", "title": "Make the route", "depends_on": ["model"]},
]


def tools_of(space: Space) -> Any:
    return using_tools(space.api, space.owner.http.headers["authorization"].split()[1])


def id_in(line: str) -> str:
    return line.partition("(id ")[2].partition(")")[0]


async def test_a_plan_is_drafted_shown_with_what_it_would_do_and_accepted(shared_api: Api):
    space = await make_space(shared_api)
    plan = {"repository_id": space.repository_id, "name": "Accounts", "goal": "Have accounts."}
    async with tools_of(space) as tools:
        drafted = await tools.use("draft_plan", **plan, steps=STEPS[:1])
        again = await tools.use("draft_plan", **plan, steps=STEPS, scope=["sign-up"])
        plan_id = id_in(again)
        shown = await tools.use("get_plan", plan=plan_id)
        state = int(shown.rpartition("state: ")[2])
        stale = await tools.refused("accept_plan", plan=plan_id, state=state - 1, start=False)
        made = await tools.use("accept_plan", plan=plan_id, state=state, start=False)
        repeated = await tools.use("accept_plan", plan=plan_id, state=state, start=False)
        listed = await tools.use("list_plans", status="active")
        following = await tools.use("draft_plan", **plan, steps=STEPS)

    assert id_in(drafted) == plan_id, "the same draft"
    assert "accepting it would:\n- add: Make the table" in shown
    assert "after: model" in shown
    assert "sign-up" in shown
    assert "stale" in stale
    assert [line.split("] ")[1].split(" (")[0] for line in made.splitlines()[1:]] == [
        "Make the table",
        "Make the route",
    ]
    assert made == repeated, "once, however often it is accepted"
    assert listed.startswith("Accounts, version 1 [active]")
    assert "version 2 [draft]" in following
    tasks = (await space.owner.get("/tasks", params={"project_id": space.project_id}))["items"]
    assert {task["title"]: task["type"] for task in tasks} == {
        "Make the table": "refactor",
        "Make the route": "feature",
    }


@pytest.mark.parametrize(
    ("steps", "problem"),
    [
        ([{"key": "a", "title": "A", "depends_on": ["b"]}], "which is no step"),
        ([{"key": "a"}], "title"),
        ([{"key": "a", "title": "A", "files": ["../etc/passwd"]}], "inside the repository"),
        (
            [
                {"key": "a", "title": "A", "depends_on": ["b"]},
                {"key": "b", "title": "B", "depends_on": ["a"]},
            ],
            "wait for each other",
        ),
    ],
)
async def test_steps_that_are_no_plan_are_refused_with_what_is_wrong(
    shared_api: Api, steps: list[dict[str, Any]], problem: str
):
    space = await make_space(shared_api)
    plan = {"repository_id": space.repository_id, "name": "Accounts", "goal": "Have accounts."}
    async with tools_of(space) as tools:
        refused = await tools.refused("draft_plan", **plan, steps=steps)
        assert problem in refused
        assert await tools.use("list_plans") == "There are none."


async def test_a_run_proposes_and_nothing_comes_of_it_until_somebody_accepts(shared_api: Api):
    space = await make_space(shared_api)
    await space.task(run_runtime="claude-code", permission="human_required", start=True)
    task = (await space.owner.get("/tasks", params={"project_id": space.project_id}))["items"][0]
    if task["status"] == "pending":
        await space.act(task, "start")
    worker = await space.worker(runtimes=["claude-code"])
    order = await worker.claim_one()
    sly = [STEPS[0] | {"permission": "autonomous", "run": {"command": "rm -rf /"}}, STEPS[1]]
    plan = {"name": "Accounts", "goal": "Have accounts."}
    async with using_tools(shared_api, await tool_key(worker.caller, order)) as tools:
        first = await tools.use("propose_plan", **plan, steps=sly)
        second = await tools.use("propose_plan", **plan, steps=STEPS)
        async with tools_of(space) as people:
            mine = await people.use(
                "draft_plan", **plan, repository_id=space.repository_id, steps=STEPS
            )
        beside = await tools.use("propose_plan", **plan, steps=STEPS)
    kept = await space.owner.get(f"/plans/{id_in(first)}")
    steps = next(
        each["content"]["steps"]
        for each in kept["artifacts"]
        if each["artifact_type"] == "implementation_steps"
    )

    assert id_in(first) == id_in(second) == id_in(mine)
    assert id_in(beside) != id_in(mine), "what a person wrote is not written over"
    assert {step["permission"] for step in steps} == {"supervised"}
    assert all("run" not in step for step in steps)
    assert kept["status"] == "draft"
    assert len((await space.owner.get("/tasks"))["items"]) == 1


async def test_documents_and_memories_are_found_read_and_written(shared_api: Api):
    space = await make_space(shared_api)
    body = {"name": unique("coder"), "type": "coder", "project_id": space.project_id}
    await space.owner.post("/agents", body)
    word = unique("word").replace("-", "").replace("_", "")
    async with tools_of(space) as tools:
        written = await tools.use(
            "write_document",
            title="How we name things",
            content=f"The {word} first.",
            project_id=space.project_id,
        )
        document = id_in(written)
        found = await tools.use("find_documents", query=word)
        anew = {"title": "How we name things", "content": f"The {word} last.", "type": "guide"}
        again = await tools.use("write_document", document=document, **anew)
        read = await tools.use("read_document", document=document)
        agent = id_in(await tools.use("list_agents", project_id=space.project_id))
        memory = {"category": "build", "key": "cache", "text": f"Clear the {word} cache."}
        kept = await tools.use("write_memory", agent=agent, **memory)
        recalled = await tools.use("recall_memory", agent=agent, about=word)
        nothing = await tools.use("recall_memory", agent=agent, about="zebra")

    assert document in found
    assert "version 2" in again
    assert read.startswith("# How we name things (version 2)")
    assert kept.endswith("remembers it as build/cache.")
    assert f"Clear the {word} cache." in recalled
    assert "remembers nothing" in nothing


async def test_a_change_that_is_approved_is_merged_in_its_real_repository(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path, {"README.md": "A repository.\n"})
    change = await shop.change({"door.txt": "It does not squeak.\n"})
    async with tools_of(shop.space) as tools:
        shown = await tools.use("get_change", change_id=change["id"])
        decided = await tools.use("decide_change", change_id=change["id"], decision="approve")
        late = await tools.refused("decide_change", change_id=change["id"], decision="reject")

    assert "It does not squeak." in shown
    assert decided.startswith("[applied]")
    assert shop.repo.git("show", "main:door.txt").strip() == "It does not squeak."
    assert len(shop.merges()) == 1
    assert "(modification_" in late

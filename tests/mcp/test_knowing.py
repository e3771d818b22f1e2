"""What a run's agent remembers for later runs, and the documents that it reads."""

from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.space import Json, Space, WireWorker, claim_of, make_space
from tests.support.tools import tool_key, using_tools

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "0f8fad5bd9cb469fa16570867728950e"


@dataclass
class Run:
    space: Space
    worker: WireWorker
    order: Json
    key: str

    def tools(self) -> Any:
        return using_tools(self.space.api, self.key)

    async def brief(self) -> Json:
        path = f"/executions/{self.order['execution_id']}/brief"
        return await self.worker.caller.post(path, claim_of(self.order))


async def start(space: Space, **task: Any) -> Run:
    await space.task(run_runtime="claude-code", **task)
    worker = await space.worker(runtimes=["claude-code"])
    order = await worker.claim_one()
    return Run(space, worker, order, await tool_key(worker.caller, order))


async def make_agent(space: Space) -> Json:
    body = {"name": unique("coder"), "type": "coder", "project_id": space.project_id}
    return await space.owner.post("/agents", body)


async def test_what_a_run_remembers_the_next_one_is_told(shared_api: Api):
    space = await make_space(shared_api)
    agent = await make_agent(space)
    first = await start(space, agent_id=agent["id"])
    async with first.tools() as tools:
        said = await tools.use(
            "remember",
            category="build",
            key="database",
            text=f"Start valkey before the tests; Authorization: Bearer {SECRET}",
        )
        too_much = await tools.refused("remember", category="a", key="b", text="c", importance=9)
        again = await tools.use("recall", about="valkey")
        nothing = await tools.use("recall", about="zebra")
    await first.worker.complete(first.order)
    second = await start(space, title="Mend the valkey tests", agent_id=agent["id"])

    told = (await second.brief())["memories"]

    assert said == "Remembered as build/database."
    assert "importance" in too_much
    assert "build/database: Start valkey" in again
    assert "remember nothing" in nothing
    assert [(each["category"], each["key"]) for each in told] == [("build", "database")]
    assert SECRET not in told[0]["text"]
    async with second.tools() as tools:
        assert await tools.use("forget", category="build", key="database") == "Forgotten."
        assert "nothing" in await tools.use("forget", category="build", key="database")
    listed = await space.owner.get(f"/agents/{agent['id']}/memories")
    assert listed["items"] == []


async def test_a_run_of_no_agent_remembers_nothing(shared_api: Api):
    space = await make_space(shared_api)
    run = await start(space)
    async with run.tools() as tools:
        for name, given in (
            ("remember", {"category": "a", "key": "b", "text": "c"}),
            ("recall", {"about": "a"}),
            ("forget", {"category": "a", "key": "b"}),
        ):
            assert "nobody_remembers" in await tools.refused(name, **given)


async def test_documents_of_the_project_are_found_and_read_and_no_others(shared_api: Api):
    space, other = await make_space(shared_api), await make_space(shared_api)
    word = unique("word").replace("-", "").replace("_", "")
    made: list[Json] = []
    for owner, title in ((space, "Ours"), (other, "Theirs")):
        body = {
            "title": title,
            "content": f"The {word} is renewed. " + "More of it. " * 2000,
            "document_type": "design",
            "project_id": owner.project_id,
        }
        made.append(await owner.owner.post("/documents", body))
    run = await start(space)
    async with run.tools() as tools:
        found = await tools.use("find_documents", query=f"{word} renewing")
        read = await tools.use("read_document", document=made[0]["id"])
        rest = await tools.use("read_document", document=made[0]["id"], start=15_000)
        foreign = await tools.refused("read_document", document=made[1]["id"])

    assert "Ours [design]" in found
    assert f"**{word}**" in found
    assert "Theirs" not in found
    assert read.startswith("# Ours (version 1)")
    assert "start 15000" in read
    assert rest.rstrip().endswith("More of it.")
    assert "document_not_found" in foreign

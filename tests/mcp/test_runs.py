"""The tools of a run's agent: what each does, and how far the run's key reaches."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select, update

from agentvine.domains.conversations.models import ChatMessage
from agentvine.domains.identity.models import AuditEvent, User
from agentvine.domains.tasks.models import Task
from agentvine.mcp.table import MAX_RESULT
from agentvine.protocol.enums import UserRole
from agentvine.protocol.tools import WAIT_HEADER
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.builders.projects import make_project, make_repository
from tests.support.builders.tasks import make_task
from tests.support.space import Json, Space, WireWorker, claim_of, make_space
from tests.support.tools import Tools, tool_key, using_tools

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOT_AT_ALL = {WAIT_HEADER: "0"}
AGENT = {"run_runtime": "claude-code"}


@dataclass
class Run:
    """A claimed order, and its key."""

    space: Space
    task: Json
    worker: WireWorker
    order: Json
    key: str

    def tools(self, **headers: str) -> Any:
        return using_tools(self.space.api, self.key, **headers)

    async def open_questions(self) -> list[Json]:
        """As its worker sees them."""
        path = f"/executions/{self.order['execution_id']}/questions"
        return await self.worker.caller.get(path, params=claim_of(self.order))

    async def sub_tasks(self) -> list[Json]:
        return (await self.space.get(self.task))["sub_tasks"]


async def start(api: Api, **task: Any) -> Run:
    return await start_in(await make_space(api), **task)


async def start_in(space: Space, **task: Any) -> Run:
    made = await space.task(**AGENT, **task)
    worker = await space.worker(runtimes=["claude-code"])
    order = await worker.claim_one()
    return Run(space, made, worker, order, await tool_key(worker.caller, order))


async def test_a_question_waits_for_its_answer_and_is_asked_once(shared_api: Api):
    run = await start(shared_api)
    asked = {"question": "Tabs or blanks?", "options": ["tabs", "blanks"]}
    async with run.tools(**NOT_AT_ALL) as tools:
        open_still = await tools.use("ask_human", **asked)
    async with run.tools() as tools:
        waiting = asyncio.create_task(tools.use("ask_human", **asked))
        [seen] = await run.open_questions()
        await run.space.owner.post(f"/questions/{seen['id']}/answer", {"choices": ["blanks"]})
        answered = await waiting
        again = await tools.use("ask_human", **asked)
    left = await run.open_questions()

    questions = await run.space.owner.get("/questions", params={"task_id": run.task["id"]})

    assert "Nobody has answered yet" in open_still
    assert answered == f"{run.space.owner.actor.username} chose: blanks"
    assert again == answered
    assert (left, seen["key"][:4]) == ([], "mcp-")
    [question] = questions["items"]
    assert (question["id"], question["kind"]) == (seen["id"], "question")
    assert [option["label"] for option in question["options"]] == ["tabs", "blanks"]


async def test_progress_is_told_in_the_task_s_conversation(shared_api: Api):
    run = await start(shared_api)
    async with run.tools() as tools:
        await tools.use("report_progress", message="Half of it is done.", percent=50)
    async with shared_api.database.read() as read:
        query = select(ChatMessage).where(
            ChatMessage.execution_id == uuid.UUID(run.order["execution_id"])
        )
        [message] = (await read.scalars(query)).all()

    assert (message.message, message.message_type.value) == ("Half of it is done.", "status")
    assert message.metadata_ == {"by": "agent", "percent": 50}


async def test_a_task_is_read_with_what_was_answered_and_no_longer_than_fits(shared_api: Api):
    space = await make_space(shared_api)
    other = await space.idle(title="The other one", description="x" * 2 * MAX_RESULT)
    run = await start_in(space, description="Do it well.", depends_on=[])
    await space.depend(other, run.task, "related")
    asked = claim_of(run.order) | {"key": "1", "text": "Which one?"}
    path = f"/executions/{run.order['execution_id']}/questions"
    question = await run.worker.caller.post(path, asked)
    await space.owner.post(f"/questions/{question['id']}/answer", {"text": "The left one."})
    async with run.tools() as tools:
        own = await tools.use("read_task")
        long = await tools.use("read_task", task="T-1")
        listed = await tools.use("list_tasks", limit=1)
        wrong = await tools.refused("read_task", task="the left one")
        unknown = await tools.refused("read_task", tusk="T-1")

    assert own.startswith("T-2 [in_progress]")
    assert "Do it well." in own
    assert "The left one." in own
    assert "The other one" in long
    assert len(long) < MAX_RESULT + 200
    assert "more characters are left out" in long
    assert "call again with cursor" in listed
    assert "(tool_id_invalid)" in wrong
    assert unknown.startswith("The input is not right: tusk")


@pytest.mark.parametrize(
    ("task", "status"),
    [
        ({"permission": "autonomous"}, "queued"),
        ({"permission": "autonomous", "budget_usd": "1.00"}, "pending"),
        ({"permission": "supervised"}, "pending"),
    ],
    ids=["autonomous", "with-a-budget", "supervised"],
)
async def test_what_a_run_makes_starts_by_itself_only_where_nobody_need_be_asked(
    shared_api: Api, task: Json, status: str
):
    run = await start(shared_api, run_model="a-model", **task)
    async with run.tools() as tools:
        made = await tools.use("create_task", title="Mend the door", description="It squeaks.")
        again = await tools.use("create_task", title="Mend the door", description="It squeaks.")
        await tools.use("create_task", title="Paint it", description="Red.", waits_for=["T-2"])
    [door, paint] = [await run.space.get(each) for each in await run.sub_tasks()]
    async with shared_api.database.read() as read:
        query = select(AuditEvent).where(AuditEvent.entity_id == door["id"])
        audited = (await read.scalars(query.order_by(AuditEvent.id).limit(1))).one()

    assert "T-2" in made
    assert again.startswith("You have made it already: T-2")
    assert (door["status"], door["permission"]) == (status, task["permission"])
    assert (door["run"]["runtime"], door["run"]["model"]) == ("claude-code", "a-model")
    assert door["repository_id"] == run.space.repository_id
    assert [each["depends_on_ref"] for each in paint["dependencies"]] == ["T-2"]
    owner = run.space.owner.actor.username
    assert audited.actor_label == f"user:{owner} through run {run.order['execution_id']}"


async def test_a_run_that_needs_a_person_for_each_step_makes_no_tasks(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task(**AGENT, permission="human_required")
    await space.act(task, "start")
    worker = await space.worker(runtimes=["claude-code"])
    order = await worker.claim_one()
    async with using_tools(shared_api, await tool_key(worker.caller, order)) as tools:
        made = await tools.refused("create_task", title="A", description="B")
        linked = await tools.refused("link_tasks", task="T-1", other="T-1")

    assert "(run_may_not)" in made
    assert "(run_may_not)" in linked


async def test_a_run_makes_only_so_many_tasks_and_only_so_deep(shared_api: Api):
    space = await make_space(shared_api)
    run = await start_in(space)
    made_by = {"created_by_execution": run.order["execution_id"]}
    async with shared_api.database.transaction(space.owner.actor) as tx:
        template = await tx.get_one(Task, uuid.UUID(run.task["id"]))
        repository_id, project_id = template.repository_id, template.project_id
        for number in range(1000, 1020):
            tx.add(
                Task(
                    number=number,
                    title=f"One of many, {number}",
                    status=template.status,
                    task_type=template.task_type,
                    permission_level=template.permission_level,
                    priority=template.priority,
                    project_id=project_id,
                    repository_id=repository_id,
                    parent_task_id=template.id,
                    metadata_=made_by,
                )
            )
    async with run.tools() as tools:
        too_many = await tools.refused("create_task", title="One more", description="B")
        same = await tools.use("create_task", title="One of many, 1000", description="B")
    parent, chain = None, list[Json]()
    for _ in range(5):
        parent = await space.idle(**({"parent_id": parent["id"]} if parent else {}))
        chain.append(parent)
    deep = await start_in(space, parent_id=chain[3]["id"])
    async with deep.tools() as tools:
        too_deep = await tools.refused("create_task", title="One more", description="B")

    assert "(too_many_sub_tasks)" in too_many
    assert "made it already" in same
    assert "(run_may_not)" in too_deep


async def test_only_its_own_sub_tasks_are_linked_and_no_other_project_is_seen(
    shared_api: Api,
):
    space = await make_space(shared_api)
    first = await space.idle(title="First")
    second = await space.idle(title="Second")
    async with shared_api.database.transaction(space.owner.actor) as tx:
        project = await make_project(tx, space.owner.actor)
        repository = await make_repository(tx, space.owner.actor, project)
        elsewhere = await make_task(tx, space.owner.actor, repository, start=False)
    run = await start_in(space)
    async with run.tools() as tools:
        await tools.use("create_task", title="Own", description="B")
        linked = await tools.use("link_tasks", task="T-4", other="T-1")
        related = await tools.use("link_tasks", task="T-3", other="T-2", relation="relates_to")
        foreign = await tools.refused("link_tasks", task="T-1", other="T-2")
        unseen = await tools.refused("read_task", task=str(elsewhere.id))
        unlinked = await tools.refused("link_tasks", task="T-4", other=str(elsewhere.id))
        listed = await tools.use("list_tasks")

    assert linked == "T-4 waits for T-1 now."
    assert related == "T-3 relates to T-2 now."
    assert "(run_may_not)" in foreign
    assert "(task_not_found)" in unseen
    assert "(task_not_found)" in unlinked
    assert "First" in listed
    assert elsewhere.title not in listed
    assert (await space.where(second))[0] == (await space.where(first))[0] == "pending"


async def test_a_run_may_no_more_than_the_person_it_works_for(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    space = await make_space(shared_api)
    repository = {"repository_id": space.repository_id}
    run = {"runtime": "claude-code", "queue_name": space.queue}
    task = await admin.post("/tasks", {"title": "An admin's", "run": run, **repository})
    other = await start(shared_api)
    worker = await space.worker(runtimes=["claude-code"])
    order = await worker.claim_one()
    key = await tool_key(worker.caller, order)
    async with using_tools(shared_api, key) as tools:
        unseen = await tools.refused("read_task", task=other.task["id"])
        await tools.use("create_task", title="For the admin", description="B")
        assert admin.user is not None
        async with shared_api.database.transaction() as tx:
            await tx.execute(update(User).where(User.id == admin.user.id).values(is_active=False))
        refused = await tools.refused("create_task", title="Too late", description="B")
        own = await tools.use("read_task")

    assert "(task_not_found)" in unseen, "an admin's run is held to its project"
    assert "not_found" in refused, refused
    assert own.startswith(task["ref"])


async def test_the_key_is_dead_with_its_claim_and_replaced_by_the_next(shared_api: Api):
    run = await start(shared_api)
    newer = await tool_key(run.worker.caller, run.order)
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}

    async def code_with(key: str) -> str:
        caller = await shared_api.with_token(key)
        problem = await caller.refused("POST", "http://test/mcp", 401, json=message, headers=accept)
        return problem["code"]

    replaced = await code_with(run.key)
    async with using_tools(shared_api, newer) as tools:
        await run.worker.complete(run.order)
        async with shared_api.database.read() as read:
            assert (await read.get_one(Task, uuid.UUID(run.task["id"]))).status.value == "completed"
    dead = await code_with(newer)
    guessed = await code_with(f"{newer[:31]}_{'x' * 43}")

    assert tools is not None
    assert {replaced, dead, guessed} == {"run_key_invalid"}


async def test_the_key_is_good_for_tools_alone_and_no_other_key_is(shared_api: Api):
    run = await start(shared_api)
    stranger = await shared_api.anonymous()
    keyed = await shared_api.with_token(run.key)
    gateway = await shared_api.with_token("av_llm_0123456789abcdef01234567_x")
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}

    elsewhere = await keyed.refused("GET", "/tasks", 403)
    models = await keyed.http.post("http://test/gateway/anthropic/v1/messages", json={})
    refused = [
        (await stranger.refused("POST", "http://test/mcp", 401, json=message))["code"],
        (await gateway.refused("POST", "http://test/mcp", 403, json=message))["code"],
        (await run.worker.caller.refused("POST", "http://test/mcp", 403, json=message))["code"],
    ]
    looked = await keyed.refused("GET", "http://test/mcp", 405)

    assert elsewhere["code"] == "key_misplaced"
    assert models.status_code == 403
    assert refused == ["unauthenticated", "key_misplaced", "scope_missing"]
    assert looked["code"] == "method_not_allowed"


async def test_usage_that_is_told_counts_once(shared_api: Api):
    run = await start(shared_api)
    call = {"id": "1", "model": "gpt-5", "tokens_in": 1000, "tokens_out": 100}
    async with run.tools() as tools:
        first = await tools.use("record_usage", **call)
        second = await tools.use("record_usage", **call)
    calls = await run.space.owner.get("/usage/calls", params={"task_id": run.task["id"]})

    assert (first, second) == ("Counted.", "It was counted before.")
    assert [each["tokens_in"] for each in calls["items"]] == [1000]


async def test_a_tool_that_does_not_exist_is_told_with_those_that_do(shared_api: Api):
    run = await start(shared_api)
    async with run.tools() as tools:
        assert isinstance(tools, Tools)
        told = await tools.refused("list_questions")

    assert told.startswith("There is no tool 'list_questions'; there are: ask_human")

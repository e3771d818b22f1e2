"""Files on the control channel: with a question, with its answer, and with a message to a run."""

import os
import uuid
from typing import Any

import pytest
from sqlalchemy import delete

from agentvine.domains.conversations.attaching import AttachmentDesk
from agentvine.domains.conversations.models import ChatMessage
from agentvine.protocol.tools import WAIT_HEADER
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.space import Json, Space, WireWorker, claim_of, make_space
from tests.support.tools import tool_key, using_tools

pytestmark = pytest.mark.asyncio(loop_scope="module")

PNG = b"\x89PNG\r\n\x1a\n and what follows"
STEERS = {"can_pause": True, "steers": ["claude-code"]}


class Run:
    """A claimed order whose worker asks."""

    def __init__(self, space: Space, task: Json, worker: WireWorker, order: Json) -> None:
        self.space, self.task, self.worker, self.order = space, task, worker, order

    async def ask(self, text: str = "Which picture?", **more: Any) -> Json:
        path = f"/executions/{self.order['execution_id']}/questions"
        return await self.worker.caller.post(
            path, claim_of(self.order) | {"key": text, "text": text, **more}
        )

    async def content(self, file: Json) -> bytes:
        """As the worker fetches it."""
        path = f"/executions/{self.order['execution_id']}/attachments/{file['id']}"
        response = await self.worker.caller.call("GET", path, params=claim_of(self.order))
        assert response.status_code == 200, response.text
        return response.content


async def start(api: Api, **controls: Any) -> Run:
    space = await make_space(api)
    task = await space.task(run_runtime="claude-code")
    able = STEERS | {"takes_files": True} | controls
    worker = await space.worker(controls=able, runtimes=["claude-code"])
    return Run(space, task, worker, await worker.claim_one())


async def put(
    who: Caller, path: str, content: bytes, name: str = "a.txt", type_: str = "text/plain"
) -> Json:
    headers = {"Content-Type": type_}
    path = f"{path}/attachments"
    response = await who.call("POST", path, params={"name": name}, content=content, headers=headers)
    assert response.status_code == 201, response.text
    return response.json()


async def test_an_answer_takes_files_along_and_the_run_fetches_them(shared_api: Api):
    run = await start(shared_api)
    owner, question = run.space.owner, await run.ask()
    path = f"/questions/{question['id']}"
    picture = await put(owner, path, b"\x89PNG\0", "../my picture.png", "image/png")
    unused = await put(owner, path, b"other", "other.txt")

    answered = await owner.post(f"{path}/answer", {"attachments": [picture["id"]]})
    again = await owner.post(f"{path}/answer", {"attachments": [picture["id"]]})
    late = await owner.refused("POST", f"{path}/attachments", 409, params={"name": "a.txt"})
    params = claim_of(run.order)
    told = await run.worker.caller.get(
        f"/executions/{run.order['execution_id']}/questions/{question['id']}", params=params
    )
    served = await owner.call("GET", f"{path}/attachments/{picture['id']}")
    conversation = (await owner.get(f"/tasks/{run.task['id']}"))["conversation_id"]
    chat = (await owner.get(f"/conversations/{conversation}/chat"))["items"]
    same = await owner.call(
        "GET", f"/conversations/{conversation}/chat/attachments/{picture['id']}"
    )

    assert picture["file_name"] == "my picture.png"
    assert answered["answer"]["attachments"] == again["answer"]["attachments"] == [picture]
    assert late["code"] == "question_settled"
    assert told["answer"]["attachments"] == [picture]
    assert await run.content(picture) == served.content == same.content == b"\x89PNG\0"
    assert served.headers["content-type"] == "application/octet-stream"
    assert "sandbox" in served.headers["content-security-policy"]
    assert served.headers["content-disposition"].startswith("attachment;")
    files = {each["type"]: [file["id"] for file in each["attachments"]] for each in chat}
    assert files == {"question": [unused["id"]], "response": [picture["id"]]}


async def test_only_one_s_own_files_of_this_question_go_with_an_answer(shared_api: Api):
    run, other = await start(shared_api), await start(shared_api)
    question, elsewhere = await run.ask(), await other.ask()
    path = f"/questions/{question['id']}"
    fellow = await shared_api.person(unique("fellow"))
    member = {"username": fellow.actor.username, "role": "developer"}
    members = f"/projects/{run.space.project_id}/members"
    await run.space.owner.call("PUT", members, json=member)
    theirs = await put(fellow, path, b"theirs")
    foreign = await put(other.space.owner, f"/questions/{elsewhere['id']}", b"foreign")

    for file in (theirs, foreign):
        problem = await run.space.owner.refused(
            "POST", f"{path}/answer", 404, json={"text": "This.", "attachments": [file["id"]]}
        )
        assert problem["code"] == "attachment_not_found"
    problem = await run.space.owner.refused("GET", f"{path}/attachments/{foreign['id']}", 404)
    assert problem["code"] == "attachment_not_found"
    seen = f"/executions/{run.order['execution_id']}/attachments/{foreign['id']}"
    params = claim_of(run.order)
    assert (await run.worker.caller.refused("GET", seen, 404, params=params))["code"] == (
        "attachment_not_found"
    )
    answered = await fellow.post(f"{path}/answer", {"attachments": [theirs["id"]]})
    assert answered["answer"]["attachments"] == [theirs]


async def test_what_might_be_run_is_refused_and_so_is_too_much(shared_api: Api):
    run = await start(shared_api)
    owner, question = run.space.owner, await run.ask()
    path = f"/questions/{question['id']}"
    html = {"Content-Type": "text/html"}
    problem = await owner.refused(
        "POST", f"{path}/attachments", 422, params={"name": "a"}, content=b"x", headers=html
    )
    assert problem["code"] == "attachment_refused"
    for number in range(20):
        await put(owner, path, b"x", f"{number}.txt")
    problem = await owner.refused("POST", f"{path}/attachments", 429, params={"name": "a.txt"})
    assert problem["code"] == "too_many_attachments"


async def test_a_message_to_a_run_takes_files_along(shared_api: Api):
    run = await start(shared_api)
    path = f"/queue/orders/{run.order['order_id']}"
    file = await put(run.space.owner, path, b"look", "log.txt")
    said = {"text": "Look at this.", "attachments": [file["id"]]}

    sent = await run.space.owner.post(f"{path}/messages", said)
    (lease,) = (await run.worker.beat(run.order))["leases"]
    nothing = {"text": "And this.", "attachments": [run.order["order_id"]]}
    problem = await run.space.owner.refused("POST", f"{path}/messages", 404, json=nothing)
    listed = await run.space.owner.get(f"{path}/messages")

    assert sent["attachments"] == [file]
    assert [each["attachments"] for each in lease["control"]["messages"]] == [[file]]
    assert await run.content(file) == b"look"
    assert problem["code"] == "attachment_not_found"
    assert [each["attachments"] for each in listed] == [[file]]


async def test_an_earlier_worker_that_would_lose_files_is_sent_none_and_who_sends_them_is_told(
    shared_api: Api,
):
    run = await start(shared_api, takes_files=False)
    owner, question = run.space.owner, await run.ask()
    order, asked = f"/queue/orders/{run.order['order_id']}", f"/questions/{question['id']}"

    for path in (order, asked):
        problem = await owner.refused(
            "POST",
            f"{path}/attachments",
            409,
            params={"name": "a.txt"},
            content=b"x",
            headers={"Content-Type": "text/plain"},
        )
        assert problem["code"] == "files_unsupported"
        assert "hands no files to its runs: say it in words" in problem["detail"]
    assert (await owner.post(f"{order}/messages", {"text": "In words."}))["number"] == 1

    # It was asked by one that takes files, and is run again by one that does not.
    fit = await start(shared_api)
    file = await put(fit.space.owner, f"/queue/orders/{fit.order['order_id']}", b"look")
    question = await fit.ask()
    answer = await put(fit.space.owner, f"/questions/{question['id']}", b"look")
    fit.worker.registration["controls"] = STEERS
    await fit.worker.register()
    for path, given in (
        (f"/queue/orders/{fit.order['order_id']}/messages", file),
        (f"/questions/{question['id']}/answer", answer),
    ):
        body = {"text": "See there.", "attachments": [given["id"]]}
        problem = await fit.space.owner.refused("POST", path, 409, json=body)
        assert problem["code"] == "files_unsupported"


async def test_an_agent_sends_texts_with_its_question_and_reads_or_sees_files_of_the_answer(
    shared_api: Api,
):
    # Past the worker, so whatever that can do.
    run = await start(shared_api, takes_files=False)
    owner, key = run.space.owner, await tool_key(run.worker.caller, run.order)
    asked: dict[str, Any] = {"question": "Is this right?"}
    log = {"name": "logs/build.log", "text": "all is well"}
    async with using_tools(shared_api, key, **{WAIT_HEADER: "0"}) as tools:
        await tools.use("ask_human", **asked, files=[log])
        await tools.use("ask_human", **asked, files=[log])
        wrong = await tools.refused("ask_human", **asked, files=[{"path": "/etc/passwd"}])
        [question] = (await owner.get("/questions", params={"task_id": run.task["id"]}))["items"]
        path = f"/questions/{question['id']}"
        [sent] = question["attachments"]
        content = await owner.call("GET", f"{path}/attachments/{sent['id']}")
        text = await put(owner, path, b"not yet", "notes.txt")
        picture = await put(owner, path, b"\xff\xfe\0", "a.png", "image/png")
        large = await put(owner, path, PNG.ljust(3_500_001, b"\xff"), "b.png", "image/png")
        seen = await put(owner, path, PNG, "c.txt")
        ids = [text["id"], picture["id"], large["id"], seen["id"]]
        await owner.post(f"{path}/answer", {"text": "See there.", "attachments": ids})
        told = await tools.use("ask_human", **asked)
        read = await tools.use("read_attachment", attachment=text["id"])
        shown = await tools.look("read_attachment", attachment=seen["id"])
        binary = await tools.refused("read_attachment", attachment=picture["id"])
        too_large = await tools.refused("read_attachment", attachment=large["id"])
        none = await tools.refused("read_attachment", attachment=question["id"])
    brief = await run.worker.caller.post(
        f"/executions/{run.order['execution_id']}/brief", claim_of(run.order)
    )

    assert (sent["file_name"], content.content) == ("build.log", b"all is well")
    assert "an object with name and text" in wrong
    assert f"[file notes.txt, text/plain, 7 bytes (id {text['id']})]" in told
    assert read == "not yet"
    assert shown == (f"c.txt, image/png, {len(PNG)} bytes:", "image/png", PNG)
    assert "is no UTF-8, and no picture. (attachment_not_text)" in binary
    assert "is a picture that is too large. (attachment_not_text)" in too_large
    assert "(attachment_not_found)" in none
    [answer] = brief["answers"]
    assert f"notes.txt (id {text['id']})" in answer["answer"]


async def test_a_file_stays_as_long_as_a_message_of_either_kind_names_it(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask()
    content = unique("content").encode()
    file = await put(run.space.owner, f"/questions/{question['id']}", content)
    desk = shared_api.state.effect(AttachmentDesk)
    path = desk.store.path_of(file["sha256"])
    os.utime(path, (0, 0))

    await desk.collect()
    named = path.exists()
    async with shared_api.database.transaction() as tx:
        await tx.execute(delete(ChatMessage).where(ChatMessage.id == uuid.UUID(question["id"])))
    await desk.collect()

    assert named
    assert not path.exists()

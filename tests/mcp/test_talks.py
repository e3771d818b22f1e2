"""Conversations by tools: an assistant follows and speaks, a run reads what its task came of."""

from typing import Any

import pytest

from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.space import Json, Space, make_space
from tests.support.tools import tool_key, using_tools

pytestmark = pytest.mark.asyncio(loop_scope="module")


def tools_of(space: Space) -> Any:
    return using_tools(space.api, space.owner.http.headers["authorization"].split()[1])


def id_in(line: str) -> str:
    return line.partition("(id ")[2].partition(")")[0]


async def test_an_assistant_begins_a_talk_mentions_an_agent_and_reads_what_was_said(
    shared_api: Api,
):
    space = await make_space(shared_api)
    agent = {"name": unique("architect"), "type": "architect", "project_id": space.project_id}
    made = await space.owner.post("/agents", agent)
    async with tools_of(space) as tools:
        begun = await tools.use("start_conversation", title="Colours", project_id=space.project_id)
        talk = {"conversation": id_in(begun)}
        asked = await tools.use("post_message", **talk, text=f"Which one, @{agent['name']}?")
        reply = await tools.use("post_message", **talk, text="Blue.", reply_to=id_in(asked))
        listed = await tools.use("list_conversations", project_id=space.project_id)
        nowhere = await tools.refused("post_message", **talk, text="A", reply_to=made["id"])
        read = await tools.use("read_conversation", **talk)

    owner = space.owner.actor.username
    assert listed == begun.removeprefix("Begun: ")
    assert f"[mentions agent {made['id']}: waiting" in asked
    assert f"replies to {id_in(asked)}" in reply
    assert "(message_not_found)" in nowhere
    assert f"agents: {agent['name']}" in read
    assert read.index("Which one") < read.index("Blue.")
    assert f"{owner} (user)" in read


async def test_long_talks_are_read_part_by_part_and_long_messages_whole_when_asked_for(
    shared_api: Api,
):
    space = await make_space(shared_api)
    talk = await space.owner.post("/conversations", {"project_id": space.project_id})
    path = f"/conversations/{talk['id']}/messages"
    for text in ("first", "second", "third"):
        said = await space.owner.post(path, {"content": f"{text} {'x' * 8000} end of {text}"})
    files = f"{path}/{said['id']}/attachments"
    await space.owner.call("POST", files, params={"name": "a.txt"}, content=b"abc")
    one = {"conversation": talk["id"]}
    async with tools_of(space) as tools:
        last = await tools.use("read_conversation", **one, limit=1)
        all_ = await tools.use("read_conversation", **one)
        first = await tools.use("read_conversation", **one, limit=1, from_start=True)
        cursor = first.rpartition("cursor '")[2].partition("'")[0]
        second = await tools.use("read_conversation", **one, limit=1, cursor=cursor)
        whole = await tools.use("read_conversation", **one, message=said["id"])
        await space.owner.call("PATCH", f"/conversations/{talk['id']}", json={"status": "archived"})
        closed = await tools.refused("post_message", **one, text="Too late.")
        nothing = await tools.use("list_conversations", project_id=space.project_id)

    assert "end of third" in last
    assert "[file a.txt, text/plain" in last or "[file a.txt, application/octet-stream" in last
    assert "end of third" not in all_
    assert "more characters: ask for this message alone" in all_
    assert "first xxx" in first
    assert "second xxx" in second
    assert "end of third" in whole
    assert "(conversation_closed)" in closed
    assert nothing == "There are none."


async def mentioned_in(space: Space, talk: Json) -> Any:
    """The tools of a run whose task came of a conversation."""
    metadata = {"conversation_id": talk["id"]}
    await space.task(run_runtime="claude-code", metadata=metadata)
    worker = await space.worker(runtimes=["claude-code"])
    order = await worker.claim_one()
    return using_tools(space.api, await tool_key(worker.caller, order))


async def test_a_run_reads_the_talk_that_its_task_came_of_and_no_other(shared_api: Api):
    space, other = await make_space(shared_api), await make_space(shared_api)
    ours = await space.owner.post("/conversations", {"project_id": space.project_id})
    private = await space.owner.post("/conversations", {"title": "My own"})
    theirs = await other.owner.post("/conversations", {"project_id": other.project_id})
    for owner, talk in ((space.owner, ours), (space.owner, private), (other.owner, theirs)):
        await owner.post(f"/conversations/{talk['id']}/messages", {"content": "As we said."})

    async with await mentioned_in(space, ours) as tools:
        assert "As we said." in await tools.use("read_conversation")
    async with await mentioned_in(space, private) as tools:
        assert "(no_talk_behind_task)" in await tools.refused("read_conversation")
    async with await mentioned_in(space, theirs) as tools:
        assert "(conversation_not_found)" in await tools.refused("read_conversation")
    async with await mentioned_in(space, {"id": "the talk of yesterday"}) as tools:
        assert "(no_talk_behind_task)" in await tools.refused("read_conversation")


async def test_files_of_a_talk_are_read_by_those_who_may_read_it(shared_api: Api):
    space = await make_space(shared_api)
    talks = [
        await space.owner.post("/conversations", {"project_id": space.project_id}) for _ in range(2)
    ]
    files = [await attached(space, talk) for talk in talks]
    mine, other = ({"attachment": file["id"]} for file in files)
    async with await mentioned_in(space, talks[0]) as tools:
        told = await tools.use("read_conversation")
        read = await tools.use("read_attachment", **mine)
        foreign = await tools.refused("read_attachment", **other)
    async with tools_of(space) as tools:
        here = {"conversation": talks[0]["id"]}
        shown = await tools.use("read_attachment", **here, **mine, start=2)
        elsewhere = await tools.refused("read_attachment", **here, **other)

    assert f"(id {files[0]['id']})" in told
    assert (read, shown) == ("a note", "note")
    assert "(attachment_not_found)" in foreign
    assert "(attachment_not_found)" in elsewhere


async def attached(space: Space, talk: Json) -> Json:
    messages = f"/conversations/{talk['id']}/messages"
    message = await space.owner.post(messages, {"content": "See there."})
    path = f"{messages}/{message['id']}/attachments"
    put = await space.owner.call("POST", path, params={"name": "a.txt"}, content=b"a note")
    return put.json()

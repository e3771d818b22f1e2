"""What people say to each other: threads, edits, files, pages, and who may do what."""

import os
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from agentvine.domains.conversations import reading
from agentvine.domains.conversations.attaching import AttachmentDesk, plain_name
from agentvine.domains.conversations.models import Message
from agentvine.domains.conversations.storage import AttachmentStore
from agentvine.kit.ids import new_id
from tests.support.api import Api, Caller
from tests.support.builders.identity import unique
from tests.support.query_plans import plan_of, statements_of
from tests.support.space import Json, Space, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def begun(space: Space, **body: Any) -> str:
    body = {"title": unique("talk"), "project_id": space.project_id, **body}
    made = await space.owner.post("/conversations", body)
    return f"/conversations/{made['id']}"


async def said(who: Caller, talk: str, content: str, **body: Any) -> Json:
    return await who.post(f"{talk}/messages", {"content": content, **body})


async def attached(who: Caller, talk: str, message: Json, content: bytes, name: str) -> Json:
    path = f"{talk}/messages/{message['id']}/attachments"
    response = await who.call(
        "POST",
        path,
        params={"name": name},
        content=content,
        headers={"Content-Type": "text/plain; charset=utf-8"},
    )
    assert response.status_code == 201, response.text
    return response.json()


def file_of(api: Api, attachment: Json) -> Path:
    return api.state.effect(AttachmentDesk).store.path_of(attachment["sha256"])


async def test_messages_are_said_in_threads_edited_with_a_mark_and_taken_back(shared_api: Api):
    space = await make_space(shared_api)
    talk, owner = await begun(space, type="review"), space.owner
    first = await said(owner, talk, "Is **this** right?")
    reply = await said(owner, talk, "It is.", reply_to_id=first["id"])

    edited = (
        await owner.call(
            "PATCH", f"{talk}/messages/{first['id']}", json={"content": "Is *that* right?"}
        )
    ).json()
    gone = await owner.call("DELETE", f"{talk}/messages/{reply['id']}")
    gone_too = await owner.call("DELETE", f"{talk}/messages/{first['id']}")
    items = (await owner.get(f"{talk}/messages"))["items"]

    assert first["content_formatted"] == "<p>Is <strong>this</strong> right?</p>\n"
    assert (first["is_edited"], edited["is_edited"]) == (False, True)
    assert edited["content_formatted"] == "<p>Is <em>that</em> right?</p>\n"
    assert (gone.status_code, gone_too.status_code) == (204, 204)
    assert [(each["content"], each["is_deleted"]) for each in items] == [("", True)] * 2
    assert items[1]["reply_to_id"] == first["id"]
    elsewhere = await begun(space)
    problem = await owner.refused(
        "POST", f"{elsewhere}/messages", 404, json={"content": "x", "reply_to_id": first["id"]}
    )
    assert problem["code"] == "message_not_found"
    problem = await owner.refused(
        "PATCH", f"{talk}/messages/{first['id']}", 409, json={"content": "x"}
    )
    assert problem["code"] == "message_deleted"


async def test_nobody_changes_what_somebody_else_has_said(shared_api: Api):
    space = await make_space(shared_api)
    member = await shared_api.person(unique("member"))
    await space.owner.call(
        "PUT",
        f"/projects/{space.project_id}/members",
        json={"username": member.actor.username, "role": "developer"},
    )
    talk = await begun(space)
    owners, members = await said(space.owner, talk, "mine"), await said(member, talk, "theirs")

    for method, body in (("PATCH", {"content": "x"}), ("DELETE", None)):
        await member.refused(method, f"{talk}/messages/{owners['id']}", 403, json=body)
    await member.refused(
        "POST",
        f"{talk}/messages/{owners['id']}/attachments",
        403,
        params={"name": "a"},
        content=b"x",
    )
    problem = await space.owner.refused(
        "PATCH", f"{talk}/messages/{members['id']}", 403, json={"content": "x"}
    )
    assert problem["code"] == "message_not_yours"
    # The owner of the project keeps order in it.
    await space.owner.call("DELETE", f"{talk}/messages/{members['id']}")
    assert (await member.get(f"{talk}/messages"))["items"][1]["is_deleted"]


async def test_a_talk_of_no_project_is_its_maker_s_alone(shared_api: Api):
    one, other = [await shared_api.person(unique("person")) for _ in range(2)]
    made = await one.post("/conversations", {"title": "Notes"})
    path = f"/conversations/{made['id']}"
    await said(one, path, "mine")

    await other.refused("GET", path, 404)
    await other.refused("POST", f"{path}/messages", 404, json={"content": "x"})
    assert (await one.get("/conversations"))["items"][0]["id"] == made["id"]
    assert (await other.get("/conversations"))["items"] == []


async def test_a_closed_talk_takes_nothing_until_it_goes_on(shared_api: Api):
    space = await make_space(shared_api)
    talk = await begun(space)
    await space.owner.call("PATCH", talk, json={"status": "archived", "title": "Old"})

    problem = await space.owner.refused("POST", f"{talk}/messages", 409, json={"content": "x"})
    assert problem["code"] == "conversation_closed"
    problem = await space.owner.refused("PATCH", talk, 409, json={"status": "paused"})
    assert problem["code"] == "conversation_transition_invalid"
    await space.owner.call("PATCH", talk, json={"status": "active"})
    await said(space.owner, talk, "again")
    shown = await space.owner.get(talk)
    assert (shown["title"], shown["message_count"]) == ("Old", 1)


async def test_pages_follow_the_time_even_where_many_come_at_once(shared_api: Api):
    space = await make_space(shared_api)
    talk = await begun(space)
    rows = [await said(space.owner, talk, f"number {number}") for number in range(7)]
    conversation_id = talk.rpartition("/")[2]
    async with shared_api.database.transaction() as tx:  # three of one instant
        for row in rows[2:4]:
            statement = text("UPDATE messages SET created_at = :at WHERE content = :content")
            at = (
                await tx.scalars(text("SELECT created_at FROM messages WHERE content = 'number 4'"))
            ).one()
            await tx.execute(statement, {"at": at, "content": row["content"]})

    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = await space.owner.get(f"{talk}/messages", params=params)
        seen += [each["content"] for each in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == [f"number {number}" for number in range(7)]
    other = await begun(space)
    first = await space.owner.get(f"{talk}/messages", params={"limit": 1})
    await space.owner.refused(
        "GET", f"{other}/messages", 422, params={"cursor": first["next_cursor"]}
    )
    assert conversation_id


async def test_a_page_is_read_by_the_index_over_conversation_and_time(shared_api: Api):
    space = await make_space(shared_api)
    long, short = [uuid.UUID((await begun(space)).rpartition("/")[2]) for _ in range(2)]
    database = shared_api.database
    async with database.transaction(space.owner.actor) as tx:
        rows = [
            {
                "id": new_id(),
                "conversation_id": short if number % 10 == 0 else long,
                "author_type": "user",
                "user_id": space.owner.actor.user_id,
                "content": "words " * 20,
                "created_at": tx.now + timedelta(seconds=number),
            }
            for number in range(3000)
        ]
        await tx.execute(insert(Message), rows)
        await tx.execute(text("ANALYZE"))  # of few rows PostgreSQL rightly reads all
    middle = rows[2000]
    with statements_of(database) as seen:
        async with database.read() as read:
            position = (middle["created_at"], middle["id"])
            found = (await read.scalars(reading.messages_of(long, position).limit(50))).all()
    (statement,) = [each for each in seen if "FROM messages" in each[0]]
    plan = await plan_of(database, *statement)

    assert found[0].id == rows[2001]["id"]
    assert "idx_messages_conversation_created" in plan, plan
    if database.dialect.serialises_writers:
        assert "SCAN messages" not in plan, plan
        assert "conversation_id=? AND created_at>?" in plan, plan
    else:
        assert "Seq Scan" not in plan, plan
        condition = next(line for line in plan.splitlines() if "Index Cond" in line)
        assert "conversation_id = " in condition, plan
        assert "created_at >= " in condition, plan


async def test_files_are_kept_once_and_never_served_as_what_a_browser_runs(shared_api: Api):
    space = await make_space(shared_api)
    talk, owner = await begun(space), space.owner
    message, content = await said(owner, talk, "see"), unique("content").encode()
    one = await attached(owner, talk, message, content, "../../etc/näme\n.txt")
    two = await attached(owner, talk, message, content, "two.txt")

    path = f"{talk}/messages/{message['id']}/attachments"
    response = await owner.call("GET", f"{path}/{one['id']}")

    assert (one["file_name"], one["file_type"]) == ("näme.txt", "text/plain")
    assert one["sha256"] == two["sha256"]
    assert file_of(shared_api, one).read_bytes() == response.content == content
    assert response.headers["content-type"] == "application/octet-stream"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["content-disposition"] == "attachment; filename*=UTF-8''n%C3%A4me.txt"
    assert "sandbox" in response.headers["content-security-policy"]
    for kind in ("text/html", "IMAGE/SVG+XML; x=y", "application/javascript", "nonsense"):
        problem = await owner.refused(
            "POST", path, 422, params={"name": "a"}, content=b"x", headers={"Content-Type": kind}
        )
        assert problem["code"] == "attachment_refused", kind
    problem = await owner.refused(
        "POST", path, 413, params={"name": "a"}, content=b"x" * (10 * 2**20 + 1)
    )
    assert problem["code"] == "attachment_too_large"
    shown = (await owner.get(f"{talk}/messages"))["items"][0]["attachments"]
    assert [each["file_name"] for each in shown] == ["näme.txt", "two.txt"]


async def test_files_go_when_nobody_names_them_and_not_before(shared_api: Api):
    space = await make_space(shared_api)
    talk, owner = await begun(space), space.owner
    desk = shared_api.state.effect(AttachmentDesk)
    first, second = await said(owner, talk, "one"), await said(owner, talk, "two")
    shared, single = unique("shared").encode(), unique("single").encode()
    both = await attached(owner, talk, first, shared, "a")
    await attached(owner, talk, second, shared, "b")
    alone = await attached(owner, talk, first, single, "c")
    left = desk.store.keep(unique("crashed").encode())  # its row was never written
    await owner.call("DELETE", f"{talk}/messages/{first['id']}")

    await desk.collect()
    young = [file_of(shared_api, each).exists() for each in (both, alone)]
    for digest in (both["sha256"], alone["sha256"], left):
        make_old(desk.store, digest)
    await desk.collect()

    assert young == [True, True]
    assert file_of(shared_api, both).exists()
    assert not file_of(shared_api, alone).exists()
    assert not desk.store.has(left)
    problem = await owner.refused(
        "GET", f"{talk}/messages/{first['id']}/attachments/{alone['id']}", 404
    )
    assert problem["code"] == "attachment_not_found"


def make_old(store: AttachmentStore, digest: str) -> None:
    path = store.path_of(digest)
    moment = path.stat().st_mtime - 7200
    os.utime(path, (moment, moment))


async def test_sending_a_file_again_keeps_it_from_the_collector(tmp_path: Path):
    store = AttachmentStore(tmp_path)
    digest = store.keep(b"content")
    make_old(store, digest)
    oldest = store.path_of(digest).stat().st_mtime + 60
    assert list(store.not_sent_since(oldest)) == [[digest]]

    store.keep(b"content")  # between the look and the removal

    assert store.forget_unused([digest], oldest) == 0
    assert store.has(digest)
    half = tmp_path / digest[:2] / "new-crashed"
    half.write_bytes(b"con")
    os.utime(half, (0, 0))
    assert store.forget_unused([half.name], oldest) == 1
    with pytest.raises(ValueError, match="no hash"):
        store.path_of("../../etc/passwd")


async def test_a_file_s_name_is_a_name():
    for name, plain in (
        ("a/b\\c.txt", "c.txt"),
        ("..", "file"),
        ("\u202etxt.exe", "txt.exe"),
        ("x" * 300, "x" * 255),
    ):
        assert plain_name(name) == plain

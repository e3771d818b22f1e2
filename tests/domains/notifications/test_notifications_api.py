"""What one was told, read and put away; how one wants to be told; and a test of it."""

import uuid

import pytest

from agentvine.domains.identity.models import User
from agentvine.domains.notifications import service
from agentvine.domains.notifications.enums import NotificationType, Severity
from agentvine.domains.notifications.service import Notice
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, Caller
from tests.support.builders.identity import make_token, unique
from tests.support.space import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def tell(
    api: Api,
    *callers: Caller,
    key: str | None = None,
    title: str = "A task has failed",
) -> None:
    """Tell people of something."""
    notice = Notice(
        type=NotificationType.TASK_FAILED,
        key=key or unique("key"),
        severity=Severity.WARNING,
        title=title,
        message="Look at it.",
        entity=("task", uuid.UUID(int=7)),
    )
    async with api.database.transaction() as tx:
        people = [await tx.get_one(User, caller.actor.user_id) for caller in callers]
        await service.notify(tx, notice, people)


async def listed(caller: Caller, **params: str) -> list[Json]:
    return (await caller.get("/notifications", params=params))["items"]


async def test_the_newest_comes_first_page_by_page(shared_api: Api):
    ann = await shared_api.person(unique("ann"))
    for number in range(5):
        await tell(shared_api, ann, title=f"{number}")

    first = await ann.get("/notifications", params={"limit": "3"})
    second = await ann.get("/notifications", params={"cursor": first["next_cursor"]})

    assert [each["title"] for each in first["items"] + second["items"]] == list("43210")
    assert second["next_cursor"] is None


async def test_reading_one_and_reading_all_leaves_the_rest_and_others_alone(shared_api: Api):
    ann = await shared_api.person(unique("ann"))
    bob = await shared_api.person(unique("bob"), UserRole.VIEWER)
    for number in range(3):
        await tell(shared_api, ann, bob, title=f"{number}")
    newest = (await listed(ann))[0]

    read = await ann.post(f"/notifications/{newest['id']}/read")
    assert (read["id"], read["is_read"]) == (newest["id"], True)
    assert (await ann.get(f"/notifications/{newest['id']}"))["is_read"]
    assert [each["title"] for each in await listed(ann, unread="true")] == ["1", "0"]
    assert await ann.get("/notifications/unread") == {"unread": 2}

    assert await ann.post("/notifications/read") == {"unread": 0}
    assert await listed(ann, unread="true") == []
    assert len(await listed(ann)) == 3
    assert await bob.get("/notifications/unread") == {"unread": 3}


async def test_one_event_is_one_row_for_a_person_whatever_is_said_of_it(shared_api: Api):
    ann, bob = [await shared_api.person(unique(name)) for name in ("ann", "bob")]
    key = unique("key")

    await tell(shared_api, ann, key=key, title="first")
    await tell(shared_api, ann, bob, key=key, title="second")

    assert [each["title"] for each in await listed(ann)] == ["first"]
    assert [each["title"] for each in await listed(bob)] == ["second"]


async def test_a_title_of_any_length_is_told(shared_api: Api):
    ann = await shared_api.person(unique("ann"))

    await tell(shared_api, ann, title="ä" * 500)

    assert [each["title"] for each in await listed(ann)] == ["ä" * 200]


async def test_one_says_what_one_wants_to_be_told_and_where(shared_api: Api):
    ann = await shared_api.person(unique("ann"))
    assert await ann.get("/notifications/preferences") == {
        "email": "important",
        "email_address": f"{ann.actor.username}@example.org",
        "telegram": "important",
        "telegram_chat_id": None,
    }

    changed = await ann.call("PATCH", "/notifications/preferences", json={"email": "all"})
    assert changed.json()["email"] == "all"
    chat = {"email": "none", "telegram_chat_id": -1001234567890}
    changed = await ann.call("PATCH", "/notifications/preferences", json=chat)
    assert changed.json() == {
        "email": "none",
        "email_address": f"{ann.actor.username}@example.org",
        "telegram": "important",
        "telegram_chat_id": -1001234567890,
    }
    await ann.call("PATCH", "/notifications/preferences", json={"telegram_chat_id": None})
    found = await ann.get("/notifications/preferences")
    assert (found["email"], found["telegram_chat_id"]) == ("none", None)


async def test_preferences_that_mean_nothing_are_refused(shared_api: Api):
    ann = await shared_api.person(unique("ann"))
    for body in ({"email": "loud"}, {"email": None}, {"telegram_chat_id": "x"}, {"sms": "all"}):
        problem = await ann.refused("PATCH", "/notifications/preferences", 422, json=body)
        assert problem["code"] == "invalid"


async def test_a_test_goes_over_the_channels_named_or_says_what_is_missing(shared_api: Api):
    ann = await shared_api.person(unique("ann"))
    problem = await ann.refused(
        "POST", "/notifications/test", 409, json={"channels": ["telegram", "email"]}
    )
    assert (problem["code"], problem["channels"]) == ("channel_unreachable", ["telegram"])
    assert await listed(ann) == []

    await ann.call("PATCH", "/notifications/preferences", json={"email": "none"})
    made = await ann.post("/notifications/test", {"channels": ["email"]})
    assert (made["type"], made["severity"]) == ("test", "info")
    assert made["next_attempt_at"] is not None, "a test is sent whatever one prefers"
    again = await ann.post("/notifications/test", {})
    assert [each["id"] for each in await listed(ann)] == [again["id"], made["id"]]


async def test_a_token_reads_and_puts_away_as_far_as_its_scopes_go(shared_api: Api):
    ann = await shared_api.person(unique("ann"))
    assert ann.user is not None
    async with shared_api.database.transaction() as tx:
        text = await make_token(tx, ann.user, "notifications:read")
    reader = await shared_api.with_token(text, ann.user)

    assert await listed(reader) == []
    problem = await reader.refused("POST", "/notifications/read", 403)
    assert problem["code"] == "scope_missing"

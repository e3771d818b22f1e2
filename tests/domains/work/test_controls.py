"""A person lets a run stand still, lets it go on, and says something to it."""

from typing import Any

import pytest
from sqlalchemy import select

from agentvine.domains.identity.models import AuditEvent
from agentvine.kit.ids import new_id
from agentvine.protocol.controls import MAX_MESSAGE_BYTES, MAX_UNREAD_MESSAGES, MESSAGES_PER_BEAT
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.space import Json, Space, WireWorker, claim_of, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")

ABLE = {"controls": {"can_pause": True, "steers": ["command"]}}


class Running:
    """An order that a worker runs, with those who look after it."""

    def __init__(self, space: Space, task: Json, worker: WireWorker, order: Json) -> None:
        self.space, self.task, self.worker, self.order = space, task, worker, order

    @property
    def path(self) -> str:
        return f"/queue/orders/{self.order['order_id']}"

    async def act(self, action: str, body: Any = None, **headers: str) -> Json:
        return await self.space.owner.post(f"{self.path}/{action}", body, headers=headers)

    async def refused(self, action: str, status: int, body: Any = None) -> str:
        path = f"{self.path}/{action}"
        return (await self.space.owner.refused("POST", path, status, json=body))["code"]

    async def say(self, text: str, **headers: str) -> Json:
        return await self.act("messages", {"text": text}, **headers)

    async def messages(self) -> list[tuple[str, str]]:
        found: Any = await self.space.owner.get(f"{self.path}/messages")
        return [(each["text"], each["state"]) for each in found]

    async def wanted(self) -> Json | None:
        """What a beat tells of the run."""
        return (await self.worker.beat(self.order))["leases"][0]["control"]

    async def tell(self, **done: Any) -> None:
        """The worker has done something of it."""
        await self.worker.caller.post("/queue/control", claim_of(self.order) | done)

    async def has_news(self, **known: Any) -> bool:
        controls = [claim_of(self.order) | known] if known else []
        body = self.worker.who | {"held": [claim_of(self.order)], "controls": controls}
        return (await self.worker.caller.post("/queue/listen", body))["news"]

    async def why(self) -> str:
        """What is said of the run."""
        (reason,) = (await self.space.owner.get(f"{self.path}/why"))["reasons"]
        return reason["message"].removeprefix(f"{self.worker.name} ")

    async def now(self) -> Json:
        return await self.space.owner.get(self.path)


async def start(api: Api, **registration: Any) -> Running:
    space = await make_space(api)
    task = await space.task()
    worker = await space.worker(**(registration or ABLE))
    return Running(space, task, worker, await worker.claim_one())


async def test_a_pause_goes_with_the_beats_until_the_run_is_to_go_on(shared_api: Api):
    run = await start(shared_api)
    assert await run.wanted() is None

    asked = await run.act("pause")
    assert asked["pausing_since"] is not None
    assert asked["paused_since"] is None
    for _ in range(2):
        assert await run.wanted() == {"is_paused": True, "messages": []}
    assert await run.why() == "is pausing it"
    await run.tell(is_paused=True)
    assert (await run.now())["paused_since"] is not None
    assert await run.why() == "lets it stand still; `agentvine order resume`"
    assert await run.wanted() == {"is_paused": True, "messages": []}

    assert (await run.act("resume"))["pausing_since"] is None
    assert await run.wanted() == {"is_paused": False, "messages": []}
    await run.tell(is_paused=False)
    assert (await run.now())["paused_since"] is None


async def test_repeating_a_pause_changes_nothing(shared_api: Api):
    run = await start(shared_api)
    first = await run.act("pause")
    await run.tell(is_paused=True)
    since = (await run.now())["paused_since"]
    again = await run.act("pause")
    await run.tell(is_paused=True)

    assert again["pausing_since"] == first["pausing_since"]
    assert (await run.now())["paused_since"] == since


async def test_a_late_repeat_of_a_pause_does_not_pause_again(shared_api: Api):
    run = await start(shared_api)
    key = {"Idempotency-Key": unique("key")}
    first = await run.act("pause", **key)
    await run.act("resume", **{"Idempotency-Key": unique("key")})
    assert await run.act("pause", **key) == first
    assert (await run.now())["pausing_since"] is None


async def test_what_a_worker_has_not_heard_is_news(shared_api: Api):
    run = await start(shared_api)
    assert not await run.has_news()
    await run.act("pause")
    assert await run.has_news()
    assert not await run.has_news(is_paused=True)
    await run.say("look at the logs")
    assert await run.has_news(is_paused=True)
    assert not await run.has_news(is_paused=True, messages_to=1)
    await run.act("resume")
    assert await run.has_news(is_paused=True, messages_to=1)
    assert not await run.has_news(messages_to=1)


async def test_messages_come_in_order_and_until_they_were_handed_over(shared_api: Api):
    run = await start(shared_api)
    first, second = await run.say("use the cache"), await run.say("  and be quick\n")
    assert [first["number"], second["number"]] == [1, 2]
    assert await run.messages() == [("use the cache", "waiting"), ("  and be quick\n", "waiting")]

    wanted = await run.wanted()
    assert wanted is not None
    assert [(m["number"], m["text"]) for m in wanted["messages"]] == [
        (1, "use the cache"),
        (2, "  and be quick\n"),
    ]
    assert wanted["messages"][0]["author"] == run.space.owner.actor.label
    await run.tell(messages_to=1)
    wanted = await run.wanted()
    assert wanted is not None
    assert [m["number"] for m in wanted["messages"]] == [2]
    assert [state for _, state in await run.messages()] == ["delivered", "waiting"]


@pytest.mark.promise("P23")
async def test_a_beat_brings_a_few_messages_and_so_many_may_wait(shared_api: Api):
    run = await start(shared_api)
    for number in range(MAX_UNREAD_MESSAGES):
        await run.say(f"message {number}")
    assert await run.refused("messages", 429, {"text": "more"}) == "too_many_messages"
    wanted = await run.wanted()
    assert wanted is not None
    assert [m["number"] for m in wanted["messages"]] == [*range(1, MESSAGES_PER_BEAT + 1)]
    # What a beat would not bring is no news.
    assert not await run.has_news(messages_to=MESSAGES_PER_BEAT)

    await run.tell(messages_to=MESSAGES_PER_BEAT)
    assert await run.has_news(messages_to=MESSAGES_PER_BEAT)
    assert (await run.say("more"))["number"] == MAX_UNREAD_MESSAGES + 1


async def test_a_message_has_something_in_it_and_is_not_too_long(shared_api: Api):
    run = await start(shared_api)
    for text in ("", "  \n", "x" * (MAX_MESSAGE_BYTES + 1), "é" * (MAX_MESSAGE_BYTES // 2 + 1)):
        await run.refused("messages", 422, {"text": text})
    assert (await run.say("é" * (MAX_MESSAGE_BYTES // 2)))["number"] == 1


async def test_a_message_sent_twice_with_one_key_is_one(shared_api: Api):
    run = await start(shared_api)
    key = unique("key")
    first = await run.say("once", **{"Idempotency-Key": key})
    assert await run.say("once", **{"Idempotency-Key": key}) == first
    assert await run.messages() == [("once", "waiting")]


async def test_an_earlier_worker_is_known_for_what_it_cannot_do(shared_api: Api):
    run = await start(shared_api, version="0.0.1")
    assert await run.refused("pause", 409) == "pause_unsupported"
    assert await run.refused("messages", 409, {"text": "hello"}) == "steering_unsupported"
    assert await run.wanted() is None


async def test_a_runtime_that_takes_no_messages_is_named(shared_api: Api):
    run = await start(shared_api, controls={"can_pause": True, "steers": ["other"]})
    assert await run.refused("messages", 409, {"text": "hello"}) == "steering_unsupported"
    await run.act("pause")


async def test_only_what_runs_is_paused_or_steered(shared_api: Api):
    space = await make_space(shared_api)
    task = await space.task()
    (order,) = await space.orders(task)
    run = Running(space, task, await space.worker(**ABLE), {"order_id": order["id"]})
    for action in ("pause", "resume", "messages"):
        body = {"text": "hello"} if action == "messages" else None
        assert await run.refused(action, 409, body) == "order_not_running"

    run.order = await run.worker.claim_one()
    await space.act(task, "cancel")
    assert await run.refused("pause", 409) == "order_not_running"
    await run.worker.fail(run.order, "cancelled")
    assert await run.refused("pause", 409) == "order_not_running"


async def test_a_paused_run_can_be_cancelled(shared_api: Api):
    run = await start(shared_api)
    await run.act("pause")
    await run.tell(is_paused=True)
    await run.space.act(run.task, "cancel")

    (lease,) = (await run.worker.beat(run.order))["leases"]
    assert lease["state"] == "cancel"
    await run.worker.fail(run.order, "cancelled")
    assert (await run.space.where(run.task))[0] == "cancelled"
    assert (await run.now())["paused_since"] is None


async def test_the_next_attempt_begins_as_any_other(shared_api: Api):
    run = await start(shared_api)
    await run.act("pause")
    await run.say("for the first alone")
    await run.tell(is_paused=True)
    await run.worker.caller.post("/queue/release", claim_of(run.order))
    assert await run.messages() == [("for the first alone", "missed")]

    stale, run.order = run.order, await run.worker.claim_one()
    now = await run.now()
    assert (now["pausing_since"], now["paused_since"]) == (None, None)
    assert await run.wanted() is None
    assert not await run.has_news()
    assert (await run.say("for the second"))["number"] == 1
    assert await run.messages() == [
        ("for the first alone", "missed"),
        ("for the second", "waiting"),
    ]

    for done in ({"is_paused": True}, {"messages_to": 1}):
        problem = await run.worker.caller.refused(
            "POST", "/queue/control", 409, json=claim_of(stale) | done
        )
        assert problem["code"] == "lease_lost"
    assert (await run.now())["paused_since"] is None
    assert await run.messages() == [
        ("for the first alone", "missed"),
        ("for the second", "waiting"),
    ]


async def test_another_workers_token_says_nothing_about_a_run(shared_api: Api):
    run = await start(shared_api)
    other = await run.space.worker(**ABLE)
    problem = await other.caller.refused(
        "POST", "/queue/control", 409, json=claim_of(run.order) | {"is_paused": True}
    )
    assert problem["code"] == "lease_lost"
    assert (await run.now())["paused_since"] is None


async def test_what_a_dead_worker_had_paused_waits_for_another(shared_api: Api):
    run = await start(shared_api)
    await run.act("pause")
    await run.tell(is_paused=True)
    run.worker.session_id = str(new_id())
    released = await run.worker.register()

    assert released["released"] == 1
    assert (await run.now())["status"] == "pending"


async def test_who_paused_and_who_spoke_is_on_record(shared_api: Api):
    run = await start(shared_api)
    await run.act("pause")
    await run.act("pause")
    await run.say("hello")
    await run.act("resume")
    async with shared_api.database.read() as read:
        rows = await read.scalars(
            select(AuditEvent)
            .where(AuditEvent.entity_id == run.order["order_id"])
            .order_by(AuditEvent.id)
        )
        found = [(row.action, row.actor_label) for row in rows.all()]
    actions = ("order.pause_requested", "order.steered", "order.resume_requested")
    assert found == [(action, run.space.owner.actor.label) for action in actions]

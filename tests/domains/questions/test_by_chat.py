"""Answers from Telegram: whose chat it is, which question is meant, and what counts."""

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from sqlalchemy import select, update

from agentvine.domains.identity.models import AuditEvent, ServerState, User
from agentvine.domains.notifications import linking
from agentvine.domains.notifications.channels.telegram import TelegramBot
from agentvine.domains.notifications.composing import compose
from agentvine.domains.notifications.models import Notification
from agentvine.domains.projects.models import ProjectMember
from agentvine.domains.questions.by_chat import ChatAnswerUnclear, understand
from agentvine.domains.questions.hearing import HearingChore
from agentvine.kit.ids import short_id
from agentvine.protocol.enums import UserRole
from agentvine.protocol.questions import AnswerIn, QuestionKind, QuestionOption, QuestionOut
from tests.support.api import Api, Caller, running_api
from tests.support.bot_api import BOT_TOKEN, BotApi, running_bot_api
from tests.support.builders.identity import unique
from tests.support.per_file import own_database
from tests.support.space import Json, Space, WireWorker, claim_of, make_space
from tests.support.upstream import Reply

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPTIONS = [{"label": "tabs"}, {"label": "blanks"}]
PUSH = {"kind": "permission", "tool_name": "Bash", "tool_input": {"command": "git push"}}
_chats = itertools.count(5_000)


class Talk:
    """A run that asks, its owner's chat with the bot, and the server that hears it."""

    def __init__(self, space: Space, worker: WireWorker, order: Json, telegram: BotApi) -> None:
        self.space, self.worker, self.order, self.telegram = space, worker, order, telegram
        self.chat = next(_chats)
        self.chore = self.hearer()
        self.question: Json = {}

    def hearer(self) -> HearingChore:
        """A server that hears."""
        bot = TelegramBot(self.telegram.settings)
        return HearingChore(self.space.api.database, bot, wait_seconds=0)

    async def hear(self) -> int:
        """The other servers of these tests have let go."""
        did = await self.chore.run()
        await self.chore.close()
        return did

    async def link(self, chat: int | None = None, who: Caller | None = None) -> None:
        user = (who or self.space.owner).actor
        async with self.space.api.database.transaction(user) as tx:
            made = await linking.make_code(tx, user)
        self.telegram.write(chat or self.chat, f"/start {made.code}")
        assert await self.hear() == 1

    async def ask(self, text: str = "Tabs or blanks?", **more: Any) -> Json:
        path = f"/executions/{self.order['execution_id']}/questions"
        body = claim_of(self.order) | {"key": unique("key"), "text": text, **more}
        self.question = await self.worker.caller.post(path, body)
        return self.question

    @property
    def name(self) -> str:
        return short_id(uuid.UUID(self.question["id"]))

    async def say(self, text: Any, /, **more: Any) -> str:
        """Write to the bot, and what it says to that; nothing where it says nothing."""
        before = len(self.telegram.heard_by(self.chat))
        self.telegram.write(self.chat, text, **more)
        assert await self.hear() == 1
        return " ".join(self.telegram.heard_by(self.chat)[before:])

    async def now(self) -> Json:
        return await self.space.owner.get(f"/questions/{self.question['id']}")

    async def notice(self) -> str:
        """What the owner was told of the question by Telegram."""
        query = select(Notification).where(
            Notification.key == f"question_asked:{self.question['id']}"
        )
        async with self.space.api.database.read() as read:
            letter = compose([(await read.scalars(query)).one()])
        return f"{letter.subject}\n\n{letter.text}"


@pytest_asyncio.fixture(loop_scope="module")
async def talk(shared_api: Api) -> AsyncIterator[Talk]:
    space = await make_space(shared_api)
    await space.task(title="Tidy the imports")
    worker = await space.worker()
    async with running_bot_api() as telegram:
        yield Talk(space, worker, await worker.claim_one(), telegram)


async def test_a_question_is_answered_in_reply_to_its_notice(talk: Talk):
    await talk.link()
    await talk.ask(options=OPTIONS)

    told = await talk.say("Blanks", reply_to=await talk.notice())

    assert told == "T-1 is told: blanks"
    answer = (await talk.now())["answer"]
    assert (answer["decision"], answer["choices"]) == ("answer", ["blanks"])
    assert answer["author"] == talk.space.owner.actor.username
    async with talk.space.api.database.read() as read:
        query = select(AuditEvent).where(AuditEvent.entity_id == talk.question["id"])
        rows = await read.scalars(query.order_by(AuditEvent.id))
        labels = [row.actor_label for row in rows]
    assert labels[-1] == f"user:{talk.space.owner.actor.username} through Telegram"


@pytest.mark.parametrize("named", ["T-1 {}", "t-1: {}", "{name} {}", "  {name}\n{}"])
async def test_a_question_is_named_by_its_task_or_its_short_name(talk: Talk, named: str):
    await talk.link()
    await talk.ask()
    words = "keep the old names,\nplease"
    told = await talk.say(named.format(words, name=talk.name.upper()))
    assert told.startswith("T-1 is told: keep the old names")
    assert (await talk.now())["answer"]["text"] == words


async def test_a_permission_is_allowed_as_far_as_was_said_or_denied_with_a_reason(talk: Talk):
    await talk.link()
    await talk.ask("", **PUSH)
    assert "allow, or deny and why" in await talk.say("T-1 well, perhaps")
    assert await talk.say("T-1 allow task") == "T-1 is told: allow for the task"
    assert (await talk.now())["answer"]["remember"] == "task"

    await talk.ask("Drop it?", kind="permission", tool_name="Bash", tool_input={"command": "rm x"})
    assert await talk.say("T-1 deny: not today") == "T-1 is told: deny not today"
    answer = (await talk.now())["answer"]
    assert (answer["decision"], answer["text"]) == ("deny", "not today")


@pytest.mark.parametrize(
    ("kind", "several", "words", "given"),
    [
        ("question", False, "2", {"choices": ["blanks"]}),
        ("question", False, "TABS", {"choices": ["tabs"]}),
        ("question", False, "tabs, blanks", {"text": "tabs, blanks"}),
        ("question", True, "tabs, 2", {"choices": ["tabs", "blanks"]}),
        ("question", True, "tabs, mixed", {"text": "tabs, mixed"}),
        ("question", False, "no", {"text": "no"}),
        ("plan", False, "yes", {"decision": "allow"}),
        ("plan", False, "Allow. Mind the tests", {"decision": "allow", "text": "Mind the tests"}),
        ("plan", False, "no", {"decision": "deny"}),
        ("permission", False, "allow run", {"decision": "allow", "remember": "run"}),
        ("permission", False, "allow project", {"decision": "allow", "remember": "project"}),
        ("permission", False, "denying it", None),
        ("permission", False, "allowed", None),
        ("permission", False, "not allow", None),
        ("question", False, " \n", None),
        ("question", False, "x" * 20_001, None),
    ],
)
async def test_what_words_mean(kind: str, several: bool, words: str, given: Json | None):
    question = QuestionOut.model_construct(
        kind=QuestionKind(kind),
        options=[QuestionOption(label=each["label"]) for each in OPTIONS],
        allows_several=several,
        task_ref="T-1",
    )
    if given is None:
        with pytest.raises(ChatAnswerUnclear):
            understand(question, words)
    else:
        assert understand(question, words) == AnswerIn.model_validate(given)


async def test_what_is_not_clear_is_asked_back_and_nothing_is_answered(talk: Talk):
    await talk.link()
    first = await talk.ask("One?")
    second = await talk.ask("Two?")

    assert "replying to its message" in await talk.say("yes")
    assert "T-99" in await talk.say("T-99 yes")
    both = await talk.say("T-1 yes")
    for question in (first, second):
        assert f"{short_id(uuid.UUID(question['id']))} {question['text']}" in both
        talk.question = question
        assert (await talk.now())["state"] == "open"
    assert "Say something" in await talk.say(f"{talk.name} ")
    assert "replying" in await talk.say("/help")


async def test_an_agents_words_name_no_other_question(talk: Talk):
    await talk.link()
    other = await talk.ask("May I?", **PUSH)
    line = f"Answer: agentvine answer {talk.name} --allow (or --deny REASON)"
    await talk.ask(f"Which?\n{line}")
    notice = await talk.notice()
    assert line in notice

    told = await talk.say("allow", reply_to=notice)

    assert "about several" in told
    talk.question = other
    assert (await talk.now())["state"] == "open"
    assert "replying" in await talk.say("allow", reply_to=f"I said: {line}")
    mine = {"from": {"id": talk.chat}, "text": line}
    assert "replying" in await talk.say("allow", reply_to_message=mine)
    assert (await talk.now())["state"] == "open"


async def test_the_first_answer_counts_and_a_late_one_is_told_so(talk: Talk):
    await talk.link()
    await talk.ask()
    notice = await talk.notice()
    await talk.space.owner.post(f"/questions/{talk.question['id']}/answer", {"text": "tabs"})

    told = await talk.say("blanks", reply_to=notice)

    assert "waits for your answer (any more)" in told
    assert (await talk.now())["answer"]["text"] == "tabs"


async def test_what_is_heard_twice_is_answered_once(talk: Talk):
    await talk.link()
    await talk.ask()
    talk.telegram.write(talk.chat, "T-1 tabs")
    [heard] = talk.telegram.updates[-1:]
    await talk.hear()
    async with talk.space.api.database.transaction() as tx:
        row = await tx.get_one(ServerState, "telegram.hearing")
        assert row.value["offset"] == heard["update_id"] + 1
        # As a server leaves it that was killed before it noted what it had heard.
        row.value = {**row.value, "offset": heard["update_id"]}

    await talk.hear()

    assert (await talk.now())["answer"]["text"] == "tabs"
    assert len(talk.telegram.heard_by(talk.chat)) == 3


async def test_a_chat_is_proved_by_a_code_that_is_good_once(talk: Talk, shared_api: Api):
    owner = talk.space.owner.actor
    async with shared_api.database.transaction(owner) as tx:
        made = await linking.make_code(tx, owner)
        rows = (await tx.scalars(select(ServerState.key))).all()
    assert not any(made.code in key for key in rows)

    assert "is not good" in await talk.say("/start wrong")
    assert f"This chat is {owner.username}'s now" in await talk.say(f"/start {made.code}")
    assert "is not good" in await talk.say(f"/start {made.code}")

    async with shared_api.database.transaction(owner) as tx:
        late = await linking.make_code(tx, owner)
        for row in await tx.scalars(select(ServerState)):
            if row.key.startswith("telegram.code."):
                before = (tx.now - timedelta(seconds=1)).isoformat()
                row.value = {**row.value, "expires_at": before}
    assert "is not good" in await talk.say(f"/start {late.code}")


async def test_a_typed_number_is_told_things_and_decides_nothing(talk: Talk):
    await talk.ask()
    chat = {"telegram_chat_id": talk.chat}
    changed = await talk.space.owner.call("PATCH", "/notifications/preferences", json=chat)
    assert changed.status_code == 200
    assert "agentvine notification link" in await talk.say("T-1 tabs")
    assert (await talk.now())["state"] == "open"


async def test_a_chat_that_its_owner_does_not_name_any_more_decides_nothing(talk: Talk):
    await talk.link()
    await talk.ask()
    nowhere = {"telegram_chat_id": None}
    await talk.space.owner.call("PATCH", "/notifications/preferences", json=nowhere)
    assert "agentvine notification link" in await talk.say("T-1 tabs")
    assert (await talk.now())["state"] == "open"


async def test_a_chat_belongs_to_who_proved_it_last(talk: Talk, shared_api: Api):
    await talk.link()
    await talk.ask()
    other = await shared_api.person(unique("other"))
    await talk.link(who=other)

    told = await talk.say("T-1 tabs")

    assert "Nothing called T-1" in told, "the other one sees no such task"
    assert (await talk.now())["state"] == "open"
    mine = await talk.space.owner.get("/notifications/preferences")
    assert mine["telegram_chat_id"] is None


async def test_a_stranger_is_told_once_how_to_link_and_learns_nothing(talk: Talk):
    await talk.ask("A secret?")
    first = await talk.say("T-1 tabs")
    assert "agentvine notification link" in first
    assert "secret" not in first
    assert await talk.say(f"{talk.name} tabs") == ""
    assert (await talk.now())["state"] == "open"


@pytest.mark.parametrize("gone", ["membership", "user"])
async def test_who_may_not_see_it_any_more_answers_nothing(talk: Talk, gone: str):
    await talk.ask("A secret?")
    who = await _member(talk, UserRole.DEVELOPER, "developer")
    await talk.link(who=who)
    async with talk.space.api.database.transaction() as tx:
        if gone == "user":
            is_them = User.id == who.actor.user_id
            await tx.execute(update(User).where(is_them).values(is_active=False))
        else:
            row = (
                await tx.scalars(
                    select(ProjectMember).where(ProjectMember.user_id == who.actor.user_id)
                )
            ).one()
            await tx.delete(row)

    told = await talk.say("T-1 tabs")

    assert "secret" not in told
    assert (await talk.now())["state"] == "open"


@pytest.mark.parametrize(
    ("role", "membership"), [(UserRole.VIEWER, "developer"), (UserRole.DEVELOPER, "viewer")]
)
async def test_who_may_only_look_is_told_so(talk: Talk, role: UserRole, membership: str):
    await talk.ask()
    await talk.link(who=await _member(talk, role, membership))
    told = await talk.say("T-1 tabs")
    assert "is told" not in told
    assert (await talk.now())["state"] == "open"


async def _member(talk: Talk, role: UserRole, membership: str) -> Caller:
    person = await talk.space.api.person(unique("member"), role)
    body = {"username": person.actor.username, "role": membership}
    path = f"/projects/{talk.space.project_id}/members"
    assert (await talk.space.owner.call("PUT", path, json=body)).is_success
    return person


async def test_only_what_one_person_writes_alone_is_heard(talk: Talk):
    await talk.link()
    await talk.ask()
    group = {"chat": {"id": talk.chat, "type": "group"}}
    for more in (group, {"from": {"id": 1}}, {"text": None}, {"text": "T-1 a\0b"}, {"chat": 7}):
        assert await talk.say("T-1 tabs", **more) == ""
    talk.telegram.write(talk.chat, "T-1 tabs")
    talk.telegram.updates[-1].pop("message")
    talk.telegram.write(talk.chat, "T-1 tabs")
    talk.telegram.updates[-1]["message"] = []
    assert await talk.hear() == 1
    assert (await talk.now())["state"] == "open"


async def test_one_server_hears_at_a_time_and_another_when_it_is_gone(talk: Talk):
    first, second = talk.hearer(), talk.hearer()
    assert await first.run() == 1
    asked = len(talk.telegram.asked)

    assert await second.run() == 0
    assert len(talk.telegram.asked) == asked
    assert await first.run() == 1
    await first.close()
    assert await second.run() == 1
    async with talk.space.api.database.transaction() as tx:
        row = await tx.get_one(ServerState, "telegram.hearing")
        # The second was killed, and its lease has ended.
        row.value = {**row.value, "until": tx.now.isoformat()}
    assert await talk.hear() == 1
    await second.bot.close()


@pytest.mark.parametrize(
    "refusal",
    [
        Reply([b'{"ok": false, "description": "Conflict: other getUpdates"}'], status=409),
        Reply([b"<html>"], status=502),
        Reply([b'{"ok": true, "result": {}}']),
        Reply([b'{"ok": true', b""], is_cut=True),
        Reply([json.dumps({"parameters": {"retry_after": 30}}).encode()], status=429),
    ],
)
async def test_a_bot_that_does_not_work_is_told_once_and_asked_again(talk: Talk, refusal: Reply):
    talk.telegram.refusal = refusal
    with structlog.testing.capture_logs() as logs:
        assert [await talk.hear() for _ in range(3)] == [0, 0, 0]
    assert [entry["event"] for entry in logs].count("hearing.failed") == 1
    assert BOT_TOKEN not in str(logs)
    is_to_rest = refusal.status == 429
    assert len(talk.telegram.asked) == (1 if is_to_rest else 3)


async def test_without_a_bot_no_code_is_made(talk: Talk):
    problem = await talk.space.owner.refused("POST", "/notifications/telegram-code", 409)
    assert problem["code"] == "telegram_off"


async def test_from_the_notice_to_the_run_that_waits(
    shared_kind: str, tmp_path: Path, request: pytest.FixtureRequest
):
    with own_database(shared_kind, tmp_path, request) as settings:
        async with (
            running_bot_api() as telegram,
            running_api(settings, tmp_path / "data", telegram=telegram.settings) as api,
        ):
            space = await make_space(api)
            await space.task()
            worker = await space.worker()
            talk = Talk(space, worker, await worker.claim_one(), telegram)
            made = await space.owner.post("/notifications/telegram-code")
            telegram.write(talk.chat, f"/start {made['code']}")
            await until(lambda: telegram.heard_by(talk.chat))
            await talk.ask()
            path = f"/executions/{talk.order['execution_id']}/questions/{talk.question['id']}"
            params = claim_of(talk.order) | {"wait_seconds": 50.0}
            waiting = asyncio.create_task(worker.caller.get(path, params=params))

            [notice] = await until(lambda: telegram.heard_by(talk.chat)[1:])
            telegram.write(talk.chat, "tabs, please", reply_to=notice)

            assert (await waiting)["answer"]["text"] == "tabs, please"
            told = await until(lambda: telegram.heard_by(talk.chat)[2:])
            assert told == ["T-1 is told: tabs, please"]


async def until(look: Callable[[], list[str]]) -> list[str]:
    """What there is to see, as soon as there is something."""
    async with asyncio.timeout(50):
        while not (found := look()):  # noqa: ASYNC110 - the bot tells nobody
            await asyncio.sleep(0.02)
    return found

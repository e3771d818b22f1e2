"""A run asks, a rule or a person answers, and the run, or the next one, goes on with it."""

import asyncio
import uuid
from typing import Any

import pytest
from sqlalchemy import select, update

from agentvine.domains.conversations.models import ChatMessage
from agentvine.domains.identity.models import AuditEvent
from agentvine.domains.questions.advice import AdviceDesk
from agentvine.domains.questions.jobs import QuestionChores
from agentvine.domains.work.models import WorkOrder
from agentvine.kit.ids import new_id
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.space import Json, Space, WireWorker, claim_of, make_space

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPTIONS = [{"label": "tabs"}, {"label": "blanks", "description": "four of them"}]
PUSH = {"kind": "permission", "tool_name": "Bash", "tool_input": {"command": "git push"}}
READ = {"kind": "permission", "tool_name": "Read", "tool_input": {"file_path": "a.py"}}


class Asking:
    """An order that a worker runs, and what the run asks."""

    def __init__(self, space: Space, task: Json, worker: WireWorker, order: Json) -> None:
        self.space, self.task, self.worker, self.order = space, task, worker, order

    @property
    def path(self) -> str:
        return f"/executions/{self.order['execution_id']}/questions"

    async def ask(self, key: str = "1", text: str = "Tabs or blanks?", **more: Any) -> Json:
        body = claim_of(self.order) | {"key": key, "text": text, **more}
        return await self.worker.caller.post(self.path, body)

    async def wait(self, question: Json, seconds: float = 0.0) -> Json:
        params = claim_of(self.order) | {"wait_seconds": seconds}
        return await self.worker.caller.get(f"{self.path}/{question['id']}", params=params)

    async def answer(self, question: Json, **body: Any) -> Json:
        return await self.space.owner.post(f"/questions/{question['id']}/answer", body)

    async def refused(self, question: Json, status: int, **body: Any) -> str:
        path = f"/questions/{question['id']}/answer"
        return (await self.space.owner.refused("POST", path, status, json=body))["code"]

    async def again(self) -> Json:
        """Claim the order once more, by the same worker."""
        self.order = await self.worker.claim_one()
        return self.order

    async def rule(self, effect: str, tool: str = "*", pattern: str = "*", **more: Any) -> Json:
        body = {"effect": effect, "tool": tool, "pattern": pattern, **more}
        return await self.space.owner.post(f"/projects/{self.space.project_id}/answer-rules", body)

    async def open(self) -> list[Json]:
        params = {"state": "open", "task_id": self.task["id"]}
        return (await self.space.owner.get("/questions", params=params))["items"]

    async def reasons(self) -> list[str]:
        found = await self.space.owner.get(f"/tasks/{self.task['id']}/why")
        return [reason["code"] for reason in found["reasons"]]


async def start(api: Api, **task: Any) -> Asking:
    space = await make_space(api)
    made = await space.task(**task)
    worker = await space.worker()
    return Asking(space, made, worker, await worker.claim_one())


async def messages_of(api: Api, question: Json) -> list[ChatMessage]:
    """The question's row and those below it, oldest first."""
    query = select(ChatMessage).where(
        (ChatMessage.id == uuid.UUID(question["id"]))
        | (ChatMessage.parent_message_id == uuid.UUID(question["id"]))
    )
    async with api.database.read() as read:
        return list((await read.scalars(query.order_by(ChatMessage.id))).all())


async def audit_of(api: Api, question: Json) -> list[tuple[str, str | None]]:
    query = select(AuditEvent).where(AuditEvent.entity_id == question["id"])
    async with api.database.read() as read:
        rows = (await read.scalars(query.order_by(AuditEvent.id))).all()
        return [(row.action, (row.after or {}).get("rule")) for row in rows]


async def test_a_question_is_stored_before_the_run_waits_and_answered_by_a_person(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask(options=OPTIONS)
    assert (question["state"], question["task_ref"]) == ("open", "T-1")
    assert [each["id"] for each in await run.open()] == [question["id"]]
    assert (await run.wait(question))["answer"] is None

    waiting = asyncio.create_task(run.wait(question, seconds=50))
    answered = await run.answer(question, choices=["blanks"], text="as ever")
    told = (await waiting)["answer"]

    assert told == answered["answer"]
    assert (told["decision"], told["choices"], told["text"]) == ("answer", ["blanks"], "as ever")
    assert told["author"] == run.space.owner.actor.username
    assert not told["is_automatic"]
    asked, response = await messages_of(shared_api, question)
    assert (asked.message_type.value, asked.sender_type.value) == ("question", "worker")
    assert (response.message_type.value, response.sender_type.value) == ("response", "user")
    assert response.parent_message_id == asked.id
    assert asked.conversation_id == response.conversation_id
    assert [action for action, _ in await audit_of(shared_api, question)] == [
        "question.asked",
        "question.answered",
    ]
    assert await run.open() == []


async def test_asking_again_with_the_same_key_is_the_same_question(shared_api: Api):
    run = await start(shared_api)
    first = await run.ask()
    both = await asyncio.gather(run.ask(), run.ask())
    assert {each["id"] for each in both} == {first["id"]}
    await run.answer(first, text="Blanks.")
    assert (await run.ask())["answer"]["text"] == "Blanks."
    assert (await run.ask("2"))["id"] != first["id"]


async def test_the_first_answer_counts_and_others_hear_whose_it_was(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask()
    mine = await run.answer(question, text="Blanks.")
    assert (await run.answer(question, text="Blanks.")) == mine
    problem = await run.space.owner.refused(
        "POST", f"/questions/{question['id']}/answer", 409, json={"text": "Tabs."}
    )
    assert problem["code"] == "question_settled"
    assert problem["answered_by"] == run.space.owner.actor.username
    assert (await run.wait(question))["answer"]["text"] == "Blanks."


async def test_of_many_who_answer_at_once_one_is_first(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask()
    path = f"/questions/{question['id']}/answer"
    given = await asyncio.gather(
        *(
            run.space.owner.call("POST", path, json={"text": f"answer {number}"})
            for number in range(8)
        )
    )
    good = [response.json() for response in given if response.is_success]
    assert len(good) == 1
    assert sorted(response.status_code for response in given)[1:] == [409] * 7
    assert (await run.wait(question))["answer"] == good[0]["answer"]
    assert len(await messages_of(shared_api, question)) == 2


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ({"options": OPTIONS}, {"choices": ["neither"]}),
        ({"options": OPTIONS}, {"choices": ["tabs", "blanks"]}),
        ({"options": OPTIONS, "allows_text": False}, {"text": "both"}),
        ({}, {"decision": "allow"}),
        ({}, {"text": "x", "remember": "run"}),
        (PUSH, {"text": "yes"}),
        (PUSH, {"decision": "answer", "text": "yes"}),
        (PUSH, {"decision": "deny", "updated_input": {}}),
        ({"kind": "plan"}, {"decision": "allow", "remember": "task"}),
    ],
)
async def test_an_answer_fits_its_question(shared_api: Api, asked: Json, given: Json):
    run = await start(shared_api)
    question = await run.ask(**asked)
    assert await run.refused(question, 422, **given) == "answer_invalid"
    assert (await run.wait(question))["state"] == "open"


@pytest.mark.parametrize("asked", [{}, PUSH, {"kind": "plan"}], ids=["question", "push", "plan"])
async def test_whatever_is_asked_can_be_refused(shared_api: Api, asked: Json):
    run = await start(shared_api)
    question = await run.ask(**asked)
    await run.answer(question, decision="deny", text="Not today.")
    told = (await run.wait(question))["answer"]
    assert (told["decision"], told["text"]) == ("deny", "Not today.")


async def test_a_rule_answers_without_a_person_and_is_named(shared_api: Api):
    run = await start(shared_api)
    await run.rule("deny", "bash", "git push *", reason="We push ourselves.")
    denied = await run.ask("1", "Push?", **PUSH)
    allowed = await run.ask("2", "Read?", **READ)
    assert denied["answer"] | {"answered_at": None} == {
        "decision": "deny",
        "text": "We push ourselves.",
        "choices": [],
        "updated_input": None,
        "remember": None,
        "author": "rule of the project: deny bash git push *",
        "is_automatic": True,
        "answered_at": None,
        "attachments": [],
    }
    assert allowed["answer"]["decision"] == "allow"
    for question, rule in ((denied, denied["answer"]["author"]), (allowed, "tools that only read")):
        _, response = await messages_of(shared_api, question)
        assert response.sender_type.value == "controller"
        assert (await audit_of(shared_api, question))[1] == ("question.answered", rule)


@pytest.mark.parametrize(
    ("scope", "in_next_run", "in_other_task"),
    [("run", False, False), ("task", True, False), ("project", True, True)],
)
async def test_an_answer_is_remembered_as_far_as_it_was_said(
    shared_api: Api, scope: str, *, in_next_run: bool, in_other_task: bool
):
    run = await start(shared_api)
    question = await run.ask("1", "Push?", **PUSH)
    await run.answer(question, decision="allow", remember=scope)
    assert (await run.wait(question))["answer"]["remember"] == scope

    def is_known(asked: Json) -> bool:
        answer = asked["answer"]
        assert answer is None or answer["decision"] == "allow"
        return answer is not None

    assert is_known(await run.ask("2", "Push again?", **PUSH))
    other_input = PUSH | {"tool_input": {"command": "git push --force"}}
    assert not is_known(await run.ask("3", "Push by force?", **other_input))
    await run.worker.fail(run.order, "tool_failed")
    await let_wait_no_longer(shared_api, run)
    await run.again()
    assert is_known(await run.ask("4", "Push now?", **PUSH)) is in_next_run

    other = await run.space.task()
    order = await run.worker.claim_one()
    assert order["payload"]["task_id"] == other["id"]
    elsewhere = Asking(run.space, other, run.worker, order)
    assert is_known(await elsewhere.ask("5", "Push?", **PUSH)) is in_other_task


async def test_what_was_denied_and_remembered_is_denied_from_then_on(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask("1", "Push?", **PUSH)
    await run.answer(question, decision="deny", remember="task", pattern="git push *")

    by_force = PUSH | {"tool_input": {"command": "sudo git push --force"}}
    denied = await run.ask("2", "Push by force?", **by_force)
    assert (denied["answer"]["decision"], denied["answer"]["is_automatic"]) == ("deny", True)
    assert denied["answer"]["author"] == "remembered for this task: deny Bash git push *"
    assert "find another way" in denied["answer"]["text"]

    # What is allowed afterwards lifts no ban.
    await run.rule("allow", "bash", "git push *")
    assert (await run.ask("3", "And now?", **PUSH))["answer"]["decision"] == "deny"
    path = f"/projects/{run.space.project_id}/answer-rules"
    remembered, _ = await run.space.owner.get(path)
    await run.space.owner.call("DELETE", f"/answer-rules/{remembered['id']}")
    assert (await run.ask("4", "Once more?", **PUSH))["answer"]["decision"] == "allow"
    async with shared_api.database.read() as read:
        query = select(AuditEvent).where(AuditEvent.entity_id == remembered["id"])
        kept = (await read.scalars(query.order_by(AuditEvent.id))).all()
    assert [each.action for each in kept] == ["rule.added", "rule.removed"]
    assert ((kept[0].after or {})["effect"], (kept[1].before or {})["effect"]) == ("deny", "deny")
    assert {each.actor_label for each in kept} == {f"user:{run.space.owner.actor.username}"}


async def let_wait_no_longer(api: Api, run: Asking) -> None:
    """What only time could do: the back-off is over."""
    async with api.database.transaction() as tx:
        await tx.execute(
            update(WorkOrder)
            .where(WorkOrder.id == uuid.UUID(run.order["order_id"]))
            .values(available_at=WorkOrder.enqueued_at)
        )


async def test_a_run_that_ends_to_wait_is_put_back_by_the_answer(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask()
    ended = await run.worker.fail(run.order, "waiting_for_answer", message="Tabs or blanks?")
    assert ended["will_retry"]
    assert await run.worker.claim() == []
    assert await run.reasons() == ["waiting_for_answer"]
    status, reason = await run.space.where(run.task)
    assert (status, reason) == ("queued", "waits for an answer: Tabs or blanks?")
    # Nothing that happens to the task meanwhile sets it going.
    await run.space.owner.call("PATCH", f"/tasks/{run.task['id']}", json={"title": "other"})
    assert await run.worker.claim() == []

    await run.answer(question, text="Blanks.")
    order = await run.again()
    assert order["attempt"] == 1
    brief = await run.worker.caller.post(
        f"/executions/{order['execution_id']}/brief", claim_of(order)
    )
    assert [(each["question"], each["answer"]) for each in brief["answers"]] == [
        ("Tabs or blanks?", "Blanks.")
    ]
    asked = await run.ask("another key")
    assert asked["id"] == question["id"]
    assert asked["answer"]["text"] == "Blanks."


async def test_an_answer_that_came_before_the_run_ended_lets_it_go_on_at_once(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask()
    await run.answer(question, text="Blanks.")
    await run.worker.fail(run.order, "waiting_for_answer")
    await run.again()
    assert (await run.ask("2"))["answer"]["text"] == "Blanks."


async def test_a_lost_workers_question_stays_open_for_the_next_attempt(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask()
    lost = run.order
    run.worker.session_id = str(new_id())  # the process was started anew, and holds nothing
    await run.worker.register()
    await let_wait_no_longer(shared_api, run)
    await run.again()
    taken_over = await run.ask("another key")
    assert taken_over["id"] == question["id"]
    assert taken_over["execution_id"] == run.order["execution_id"]

    gone = Asking(run.space, run.task, run.worker, lost)
    problem = await run.worker.caller.refused(
        "GET", f"{gone.path}/{question['id']}", 409, params=claim_of(lost)
    )
    assert problem["code"] == "lease_lost"
    await run.answer(question, text="Blanks.")
    assert (await run.wait(question))["answer"]["text"] == "Blanks."
    # In one attempt, who asks by another key asks anew.
    assert (await run.ask("a third key"))["id"] != question["id"]


async def test_only_the_claim_that_asked_may_wait_for_the_answer(shared_api: Api):
    run, other = await start(shared_api), await start(shared_api)
    question = await run.ask()
    for path, code in (
        (f"{other.path}/{question['id']}", 404),
        (f"{other.path}/{new_id()}", 404),
    ):
        await other.worker.caller.refused("GET", path, code, params=claim_of(other.order))
    await other.worker.caller.refused(
        "GET", f"{run.path}/{question['id']}", 409, params=claim_of(run.order)
    )
    await run.worker.complete(run.order)
    await run.worker.caller.refused(
        "POST", run.path, 409, json=claim_of(run.order) | {"key": "9", "text": "?"}
    )


async def test_a_question_that_nobody_waits_for_is_withdrawn(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask()
    for _ in range(2):
        await run.worker.caller.post(f"{run.path}/{question['id']}/withdraw", claim_of(run.order))
    assert (await run.wait(question))["state"] == "withdrawn"
    assert [action for action, _ in await audit_of(shared_api, question)] == [
        "question.asked",
        "question.withdrawn",
    ]
    assert await run.refused(question, 409, text="Blanks.") == "question_settled"

    left = await run.ask("2", "And now?")
    await run.worker.complete(run.order)
    await chores(shared_api).close()
    assert (await run.space.owner.get(f"/questions/{left['id']}"))["state"] == "withdrawn"


def chores(api: Api) -> QuestionChores:
    return QuestionChores(api.database, AdviceDesk(api.database, None, 5.0))


async def let_expire(api: Api, question: Json) -> None:
    async with api.database.transaction() as tx:
        await tx.execute(
            update(ChatMessage)
            .where(ChatMessage.id == uuid.UUID(question["id"]))
            .values(expires_at=ChatMessage.created_at)
        )
    await chores(api).expire()


@pytest.mark.parametrize(
    ("policy", "state", "decision", "choices"),
    [
        ("deny", "answered", "deny", []),
        ("default", "answered", "answer", ["tabs"]),
        ("fail", "expired", "expired", []),
        ("wait", "open", None, None),
    ],
)
async def test_when_nobody_answers_in_time_the_policy_does(
    shared_api: Api, policy: str, state: str, decision: str | None, choices: list[str] | None
):
    run = await start(shared_api)
    expiry = {"expires_in_seconds": 3600, "on_expiry": policy, "default_option": "tabs"}
    question = await run.ask(options=OPTIONS, **expiry)
    assert question["expires_at"] is not None
    await chores(shared_api).expire()
    assert (await run.wait(question))["state"] == "open"
    await let_expire(shared_api, question)
    found = await run.wait(question)
    assert found["state"] == state
    answer = found["answer"] or {"decision": None, "choices": None, "is_automatic": True}
    assert (answer["decision"], answer["choices"]) == (decision, choices)
    assert answer["is_automatic"]


@pytest.mark.parametrize(
    ("policy", "answer"), [("deny", ("deny", [])), ("default", ("answer", ["tabs"]))]
)
async def test_a_run_that_ended_to_wait_goes_on_with_what_the_policy_says(
    shared_api: Api, policy: str, answer: tuple[str, list[str]]
):
    run = await start(shared_api)
    expiry = {"expires_in_seconds": 3600, "on_expiry": policy, "default_option": "tabs"}
    question = await run.ask(options=OPTIONS, **expiry)
    await run.worker.fail(run.order, "waiting_for_answer")
    assert await run.worker.claim() == []
    await let_expire(shared_api, question)

    order = await run.again()
    path = f"/executions/{order['execution_id']}/brief"
    brief = await run.worker.caller.post(path, claim_of(order))
    assert [each["question"] for each in brief["answers"]] == ["Tabs or blanks?"]
    told = (await run.ask("another key", options=OPTIONS, **expiry))["answer"]
    assert (told["decision"], told["choices"]) == answer
    # Heard once, it binds nobody who tries again later.
    await run.worker.fail(run.order, "tool_failed")
    await let_wait_no_longer(shared_api, run)
    await run.again()
    assert (await run.ask("a third key", options=OPTIONS, **expiry))["state"] == "open"
    assert await audit_of(shared_api, question) == [
        ("question.asked", None),
        ("question.answered", f"expired: {policy}"),
    ]
    assert await run.refused(question, 409, text="Too late.") == "question_settled"


async def test_an_order_whose_question_has_expired_fails_and_waits_for_a_person(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask(expires_in_seconds=3600, on_expiry="fail")
    await run.worker.fail(run.order, "waiting_for_answer")
    await let_expire(shared_api, question)
    status, reason = await run.space.where(run.task)
    assert status == "blocked"
    assert "nobody answered in time: Tabs or blanks?" in (reason or "")
    assert await run.worker.claim() == []


async def test_secrets_in_what_a_tool_is_to_do_are_not_shown(shared_api: Api):
    run = await start(shared_api)
    token = "ghp_" + "a1B2" * 9
    asked = {"kind": "permission", "tool_name": "Bash", "diff": f"+{token}"}
    question = await run.ask("1", f"Use {token}?", tool_input={"command": token}, **asked)
    assert token not in str(question)


async def test_a_rule_may_hand_a_question_to_a_model_and_then_to_a_person(shared_api: Api):
    run = await start(shared_api)
    # The server's own chores leave it to people: it has no model, or none that answers.
    await run.rule("model", "bash")
    question = await run.ask("1", "Push?", **PUSH)
    async with asyncio.timeout(60):
        while "A person is to be asked" not in question["why"]:
            question = await run.wait(question)
    assert question["state"] == "open"


async def test_people_who_may_not_see_a_task_see_no_question_of_it(shared_api: Api):
    run = await start(shared_api)
    question = await run.ask()
    stranger = await shared_api.person(unique("person"))
    assert (await stranger.get("/questions"))["items"] == []
    await stranger.refused("GET", f"/questions/{question['id']}", 404)
    await stranger.refused("POST", f"/questions/{question['id']}/answer", 404, json={"text": "x"})

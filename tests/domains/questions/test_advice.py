"""A language model's advice, where a rule asks for it and the composition root has a model."""

import pytest
from sqlalchemy import select

from agentvine.config.settings import QuestionSettings
from agentvine.db.session import Database
from agentvine.domains.conversations.models import ChatMessage
from agentvine.domains.notifications.models import Notification
from agentvine.domains.questions import queries, rules, service
from agentvine.domains.questions.advice import Advice, AdviceDesk, AdviceRequest
from agentvine.domains.questions.service import Claim
from agentvine.protocol.questions import QuestionIn, QuestionKind, QuestionOut, RuleEffect, RuleIn
from tests.support.builders.work import Crew, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Oracle:
    """An adviser that says what it was told to say."""

    def __init__(self, advice: Advice | None) -> None:
        self.advice = advice
        self.asked: list[AdviceRequest] = []

    async def advise(self, request: AdviceRequest) -> Advice | None:
        self.asked.append(request)
        return self.advice


async def asked_of_model(crew: Crew) -> QuestionOut:
    """A question that a rule hands to a model; no server runs that would ask one."""
    await crew.enqueue()
    worker = await crew.worker()
    order = await worker.claim_one()
    async with crew.ground.transaction() as tx:
        wanted = RuleIn(effect=RuleEffect.MODEL, tool="bash")
        await rules.add_rule(tx, crew.ground.owner, crew.ground.project.id, wanted)
    question = QuestionIn(
        order_id=order.order_id,
        fence=order.fence,
        key="1",
        kind=QuestionKind.PERMISSION,
        text="Push?",
        tool_name="Bash",
        tool_input={"command": "git push"},
    )
    claim = Claim(order.execution_id, order.order_id, order.fence)
    async with crew.database.transaction(worker.actor) as tx:
        return queries.question_out(
            *await service.ask(tx, worker.actor, claim, question, QuestionSettings())
        )


@pytest.mark.parametrize("is_allowed", [True, False, None])
async def test_a_models_advice_is_an_answer_like_any_other(
    shared_database: Database, *, is_allowed: bool | None
):
    crew = await make_crew(shared_database)
    question = await asked_of_model(crew)
    advice = None
    if is_allowed is not None:
        advice = Advice(is_allowed=is_allowed, reason="Because.", model="m")
    oracle = Oracle(advice)
    desk = AdviceDesk(crew.database, oracle, 5.0)
    assert question.task_id is not None
    assert await desk.advise(question.id, question.task_id)
    assert not await desk.advise(question.id, question.task_id)
    assert [request.facts.tool_name for request in oracle.asked] == ["Bash"]
    async with crew.database.read() as read:
        row = await read.get_one(ChatMessage, question.id)
        _, task = await queries.get_question(read, crew.ground.owner, row.id)
        found = queries.question_out(row, task)
    if found.answer is None:
        assert is_allowed is None
        assert "could not tell" in found.why
    else:
        assert found.answer.decision == ("allow" if is_allowed else "deny")
        assert (found.answer.author, found.answer.text) == ("language model m", "Because.")


@pytest.mark.parametrize("is_allowed", [True, None])
async def test_people_are_told_of_a_question_only_when_the_model_leaves_it_to_them(
    shared_database: Database, *, is_allowed: bool | None
):
    crew = await make_crew(shared_database)
    theirs = select(Notification.type).where(Notification.user_id == crew.ground.owner.user_id)
    question = await asked_of_model(crew)
    async with crew.database.read() as read:
        assert (await read.scalars(theirs)).all() == []

    advice = Advice(is_allowed=True, reason="Because.", model="m") if is_allowed else None
    assert question.task_id is not None
    await AdviceDesk(crew.database, Oracle(advice), 5.0).advise(question.id, question.task_id)

    async with crew.database.read() as read:
        told = (await read.scalars(theirs)).all()
    assert told == ([] if is_allowed else ["question_asked"])

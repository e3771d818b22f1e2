"""Asking people whether a plan is good: a question in the run's conversation, and their inbox.

Whoever answers there locks the question alone, and the chore hears of it; ``approve_run`` locks the
run first. So neither waits for the other, and the first answer counts.
"""

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.conversations import questions
from agentvine.domains.conversations.chat import SYSTEM_SENDER, Place, sender_of
from agentvine.domains.conversations.models import ChatMessage
from agentvine.domains.conversations.questions import About, Facts, StoredAnswer, facts_of
from agentvine.domains.plans import queries as plans
from agentvine.domains.plans.models import Plan
from agentvine.domains.team import words
from agentvine.domains.team.models import TeamRun
from agentvine.protocol.questions import AnswerDecision, QuestionKind

_KEY = "team plan"
_MAX_TEXT = 20_000


async def find_question(read: ReadSession, run: TeamRun) -> ChatMessage | None:
    """What people were asked about the run's plan."""
    return await questions.find_without_task(read, run.conversation_id, _KEY)


async def find_answer(read: ReadSession, run: TeamRun) -> StoredAnswer | None:
    """What they have answered."""
    question = await find_question(read, run)
    return facts_of(question).answer if question is not None else None


async def ask_about_plan(tx: Transaction, run: TeamRun) -> None:
    """Ask whether the run may go ahead with its plan."""
    assert run.conversation_id is not None, "nobody is asked without one"
    plan = await tx.get_one(Plan, run.plan_id)
    text = words.plan_question(run, await plans.get_content(tx, plan))
    await questions.ask(
        tx,
        Place(conversation_id=run.conversation_id, project_id=run.project_id),
        SYSTEM_SENDER,
        key=_KEY,
        text=text[:_MAX_TEXT],
        facts=Facts(
            kind=QuestionKind.PLAN,
            why=f"The run's level is {run.permission_level.value}.",
            about=About(
                project_id=run.project_id, team_run_id=run.id, title=words.goal_line(run)[:300]
            ),
        ),
        expires_at=None,
    )


async def answer_yes(tx: Transaction, run: TeamRun) -> None:
    """Let whoever is asked know that the plan is approved, if they have not said so themselves."""
    question = await find_question(tx, run)
    if question is None:
        return
    yes = StoredAnswer(decision=AnswerDecision.ALLOW, author=tx.actor.label.removeprefix("user:"))
    await questions.settle(tx, question, run.project_id, yes, sender=sender_of(tx.actor))


async def close_question(tx: Transaction, run: TeamRun, reason: str) -> None:
    """Ask nobody any more."""
    question = await find_question(tx, run)
    if question is not None:
        await questions.withdraw(tx, question, run.project_id, reason=reason)

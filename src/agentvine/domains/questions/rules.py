"""Rules: written by people, or remembered from their answers; found for a question."""

import uuid
from collections.abc import Sequence

from sqlalchemy import func, or_, select

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.conversations.models import ChatMessage
from agentvine.domains.conversations.questions import Facts
from agentvine.domains.identity import history
from agentvine.domains.identity.enums import UserId
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Project
from agentvine.domains.questions.enums import RuleEffect
from agentvine.domains.questions.errors import RuleNotFound, TooManyRules
from agentvine.domains.questions.matching import input_hash
from agentvine.domains.questions.models import AnswerRule
from agentvine.domains.questions.policy import KnownRule
from agentvine.domains.tasks.models import Task
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.questions import RememberScope, RuleIn

MAX_RULES = 500
"""Of a project; each is looked at for each question."""


async def add_rule(
    tx: Transaction, actor: UserActor, project_id: uuid.UUID, wanted: RuleIn
) -> AnswerRule:
    """Write a rule for a project.

    Raises:
        ProjectNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
        TooManyRules: There are so many already.
    """
    project = await projects.get_project_for_change(tx, actor, project_id)
    rule = AnswerRule(
        id=new_id(),
        project_id=project.id,
        effect=wanted.effect,
        tool=wanted.tool,
        pattern=wanted.pattern,
        reason=wanted.reason,
        created_by=UserId(actor.user_id),
        created_at=tx.now,
    )
    await _add(tx, rule)
    return rule


async def remember(
    tx: Transaction,
    question: ChatMessage,
    facts: Facts,
    task: Task,
    *,
    scope: RememberScope,
    is_allowed: bool,
    pattern: str | None,
    by: uuid.UUID | None,
) -> None:
    """Keep an answer for those who ask the same later."""
    is_of_run = scope is RememberScope.RUN
    rule = AnswerRule(
        id=new_id(),
        project_id=task.project_id,
        task_id=None if scope is RememberScope.PROJECT else task.id,
        execution_id=question.execution_id if is_of_run else None,
        effect=RuleEffect.ALLOW if is_allowed else RuleEffect.DENY,
        tool=_literal(facts.tool_name or ""),
        pattern=pattern,
        input_hash=None if pattern is not None else input_hash(facts.tool_input),
        reason="",
        question_id=question.id,
        created_by=UserId(by) if by is not None else None,
        created_at=tx.now,
    )
    await _add(tx, rule)


async def remove_rule(tx: Transaction, actor: UserActor, rule_id: uuid.UUID) -> None:
    """Forget a rule.

    Raises:
        RuleNotFound: There is none, or it is not theirs to see.
        ProjectReadOnly: They may only look.
    """
    rule = await tx.scalar(
        select(AnswerRule).where(
            AnswerRule.id == rule_id,
            AnswerRule.project_id.in_(projects.visible_projects(actor)),
        )
    )
    if rule is None:
        raise RuleNotFound(f"You can see no rule with the id {rule_id}.")
    await projects.get_project_for_change(tx, actor, rule.project_id)
    await tx.delete(rule)
    history.record(
        tx,
        "rule.removed",
        entity=("answer_rule", rule.id),
        project_id=rule.project_id,
        before=_told(rule),
    )


async def list_rules(
    read: ReadSession, actor: Actor, project_id: uuid.UUID
) -> Sequence[AnswerRule]:
    """A project's rules, those of its tasks and runs too, oldest first.

    Raises:
        ProjectNotFound: It is not theirs to see.
    """
    project = await projects.get_project(read, actor, project_id)
    query = select(AnswerRule).where(AnswerRule.project_id == project.id)
    return (await read.scalars(query.order_by(AnswerRule.id))).all()


async def rules_for(read: ReadSession, task: Task, execution_id: uuid.UUID) -> list[KnownRule]:
    """The rules in force for one run, newest first: what was answered last is remembered."""
    query = (
        select(AnswerRule)
        .where(
            AnswerRule.project_id == task.project_id,
            or_(AnswerRule.task_id.is_(None), AnswerRule.task_id == task.id),
            or_(AnswerRule.execution_id.is_(None), AnswerRule.execution_id == execution_id),
        )
        .order_by(AnswerRule.id.desc())
    )
    return [_known(rule) for rule in await read.scalars(query)]


def _known(rule: AnswerRule) -> KnownRule:
    where = "project"
    if rule.task_id is not None:
        where = "task" if rule.execution_id is None else "run"
    is_remembered = rule.question_id is not None or rule.pattern is None
    what = f"{rule.tool} {rule.pattern}" if rule.pattern is not None else rule.tool
    kind = "remembered for this" if is_remembered else "rule of the"
    return KnownRule(
        name=f"{kind} {where}: {rule.effect.value} {what}"[:300],
        effect=rule.effect,
        tool=rule.tool,
        pattern=rule.pattern,
        input_hash=rule.input_hash,
        reason=rule.reason,
        is_remembered=is_remembered or rule.task_id is not None,
    )


async def _add(tx: Transaction, rule: AnswerRule) -> None:
    # One after the other, so that together they do not pass the limit.
    await tx.execute(select(Project.id).where(Project.id == rule.project_id).with_for_update())
    count = select(func.count()).select_from(AnswerRule)
    if rule.execution_id is None:
        of_project = count.where(
            AnswerRule.project_id == rule.project_id, AnswerRule.execution_id.is_(None)
        )
        if (await tx.scalar(of_project) or 0) >= MAX_RULES:
            raise TooManyRules(
                f"The project has {MAX_RULES} rules; remove some with `agentvine rule remove`."
            )
    tx.add(rule)
    await tx.flush()
    history.record(
        tx,
        "rule.added",
        entity=("answer_rule", rule.id),
        project_id=rule.project_id,
        after=_told(rule),
    )


def _told(rule: AnswerRule) -> dict[str, str | None]:
    return {
        "effect": rule.effect.value,
        "tool": rule.tool,
        "pattern": rule.pattern,
        "task_id": str(rule.task_id) if rule.task_id else None,
        "execution_id": str(rule.execution_id) if rule.execution_id else None,
    }


def _literal(tool: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in tool)[:200]

"""Rules: which documents are given to the runs of which tasks, and what they come to for one task.

The rules of a project that fit the task are gone through in their order, as long as their documents
fit into the rule's room and into that of all.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, or_, select

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity import history
from agentvine.domains.identity.enums import UserId
from agentvine.domains.knowledge.choosing import (
    About,
    Choice,
    Given,
    Pack,
    check_choice,
    documents_of,
)
from agentvine.domains.knowledge.enums import DocumentRuleId
from agentvine.domains.knowledge.errors import (
    DocumentMisplaced,
    DocumentRuleNotFound,
    TooManyDocumentRules,
)
from agentvine.domains.knowledge.models import DocumentRule
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Project
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.documents import DocumentRuleIn
from agentvine.protocol.enums import TaskType

MAX_RULES = 100
"""Of a project; each is looked at for each run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForTask(About):
    """What a task is, as far as rules ask."""

    task_type: TaskType


async def add_rule(
    tx: Transaction, actor: UserActor, project_id: uuid.UUID, wanted: DocumentRuleIn
) -> DocumentRule:
    """Write a rule for a project.

    Raises:
        ProjectNotFound: It is not theirs to see.
        ProjectReadOnly: They may only look.
        DocumentNotFound: The document is not theirs to see.
        DocumentMisplaced: Document or repository are another project's.
        TooManyDocumentRules: There are so many already.
    """
    project = await projects.get_active_project_for_change(tx, actor, project_id)
    await _check_place(tx, actor, project_id, wanted)
    # One after the other, so that together they do not pass the limit.
    await tx.execute(select(Project.id).where(Project.id == project.id).with_for_update())
    count = select(func.count()).where(DocumentRule.project_id == project.id)
    if (await tx.scalar(count) or 0) >= MAX_RULES:
        raise TooManyDocumentRules(f"The project has {MAX_RULES}; remove some, or use tags.")
    rule = DocumentRule(
        id=DocumentRuleId(new_id()),
        project_id=project.id,
        created_by=UserId(actor.user_id),
        created_at=tx.now,
        **wanted.model_dump(),
    )
    tx.add(rule)
    await tx.flush()
    _record(tx, "document_rule.added", rule, is_removed=False)
    return rule


async def remove_rule(tx: Transaction, actor: UserActor, rule_id: uuid.UUID) -> None:
    """Take a rule back.

    Raises:
        DocumentRuleNotFound: There is none, or it is not theirs to see.
        ProjectReadOnly: They may only look.
    """
    rule = await tx.scalar(
        select(DocumentRule).where(
            DocumentRule.id == rule_id,
            DocumentRule.project_id.in_(projects.visible_projects(actor)),
        )
    )
    if rule is None:
        raise DocumentRuleNotFound(f"You can see no rule with the id {rule_id}.")
    await projects.get_project_for_change(tx, actor, rule.project_id)
    await tx.delete(rule)
    _record(tx, "document_rule.removed", rule, is_removed=True)


async def list_rules(
    read: ReadSession, actor: Actor, project_id: uuid.UUID
) -> Sequence[DocumentRule]:
    """A project's rules, in the order in which they are gone through.

    Raises:
        ProjectNotFound: It is not theirs to see.
    """
    project = await projects.get_project(read, actor, project_id)
    query = select(DocumentRule).where(DocumentRule.project_id == project.id)
    return (await read.scalars(query.order_by(DocumentRule.position, DocumentRule.id))).all()


async def documents_for(read: ReadSession, actor: Actor, task: ForTask) -> Sequence[Given]:
    """What a run of a task is given."""
    rules = await read.scalars(
        select(DocumentRule)
        .where(
            DocumentRule.project_id == task.project_id,
            or_(
                DocumentRule.repository_id.is_(None),
                DocumentRule.repository_id == task.repository_id,
            ),
            or_(DocumentRule.task_type.is_(None), DocumentRule.task_type == task.task_type),
        )
        .order_by(DocumentRule.position, DocumentRule.id)
        .limit(MAX_RULES)
    )
    pack = Pack(task.text)
    for rule in rules.all():
        if pack.room <= 0:
            break
        choice = Choice(
            document_id=rule.document_id, document_type=rule.document_type, tag=rule.tag
        )
        pack.add(await documents_of(read, actor, task, choice), rule.max_tokens)
    return pack.given


async def _check_place(
    tx: Transaction, actor: UserActor, project_id: uuid.UUID, wanted: DocumentRuleIn
) -> None:
    if wanted.repository_id is not None:
        repository = await projects.get_repository(tx, actor, wanted.repository_id)
        if repository.project_id != project_id:
            raise DocumentMisplaced(f"{repository.name} is a repository of another project.")
    if wanted.document_id is not None:
        await check_choice(tx, actor, project_id, wanted.document_id)


def _record(tx: Transaction, action: str, rule: DocumentRule, *, is_removed: bool) -> None:
    told = {
        "repository_id": str(rule.repository_id) if rule.repository_id else None,
        "task_type": rule.task_type.value if rule.task_type else None,
        "document_id": str(rule.document_id) if rule.document_id else None,
        "document_type": rule.document_type.value if rule.document_type else None,
        "tag": rule.tag,
    }
    history.record(
        tx,
        action,
        entity=("document_rule", rule.id),
        project_id=rule.project_id,
        before=told if is_removed else None,
        after=None if is_removed else told,
    )

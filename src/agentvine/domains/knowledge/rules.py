"""Rules: which documents are given to the runs of which tasks, and what they come to for one task.

The rules of a project that fit the task are gone through in their order. The documents of each are
taken by how much they have to do with the task, then the newest, as long as they fit into the
rule's room and into that of all. One that does not fit is told by its title and the place where the
task's words stand, so that the agent can ask for the rest.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, or_, select

from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity import history
from agentvine.domains.identity.enums import UserId
from agentvine.domains.knowledge import queries
from agentvine.domains.knowledge.enums import DocumentRuleId
from agentvine.domains.knowledge.errors import (
    DocumentMisplaced,
    DocumentRuleNotFound,
    TooManyDocumentRules,
)
from agentvine.domains.knowledge.models import ContextDocument, DocumentRule
from agentvine.domains.knowledge.queries import Wanted
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.models import Project
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.ids import new_id
from agentvine.kit.words import any_word, rough_tokens, snippet
from agentvine.protocol.documents import DocumentRuleIn
from agentvine.protocol.enums import TaskType

MAX_RULES = 100
"""Of a project; each is looked at for each run."""
MAX_TOKENS = 16_000
"""What all documents of a brief may take."""
_LOOKED_AT = 20
_SNIPPET = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class ForTask:
    """What a task is, as far as rules ask."""

    project_id: uuid.UUID
    repository_id: uuid.UUID | None
    task_type: TaskType
    text: str


@dataclass(frozen=True, slots=True)
class Given:
    """A document for a run; its text, or where the words stand in it."""

    document: ContextDocument
    text: str
    is_whole: bool


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
    pack = _Pack(task.text)
    for rule in rules.all():
        if pack.room <= 0:
            break
        pack.add(await _documents_of(read, actor, rule, task), rule.max_tokens)
    return pack.given


@dataclass(slots=True)
class _Pack:
    """What has been put together so far."""

    text: str
    room: int = MAX_TOKENS
    given: list[Given] = field(default_factory=list["Given"])
    seen: set[uuid.UUID] = field(default_factory=set[uuid.UUID])

    def add(self, documents: Sequence[ContextDocument], room: int) -> None:
        room = min(room, self.room)
        for document in documents:
            if document.id in self.seen:
                continue
            given = Given(document, document.content, is_whole=True)
            if _tokens(given) > room:
                part = snippet(document.content, any_word(self.text), width=_SNIPPET)
                given = Given(document, part, is_whole=False)
            tokens = _tokens(given)
            if tokens <= room:
                self.seen.add(document.id)
                self.given.append(given)
                room -= tokens
                self.room -= tokens


def _tokens(given: Given) -> int:
    return rough_tokens(f"{given.document.title}\n{given.text}")


async def _documents_of(
    read: ReadSession, actor: Actor, rule: DocumentRule, task: ForTask
) -> list[ContextDocument]:
    wanted = Wanted(
        project_id=task.project_id,
        document_type=rule.document_type,
        tags=[rule.tag] if rule.tag is not None else [],
    )
    query = queries.narrowed(read, queries.visible_documents(actor), wanted).where(
        or_(
            ContextDocument.repository_id.is_(None),
            ContextDocument.repository_id == task.repository_id,
        )
    )
    if rule.document_id is not None:
        query = query.where(ContextDocument.id == rule.document_id)
    words = any_word(task.text)
    scope = [task.project_id, None]
    related: list[ContextDocument] = []
    if not words.is_empty and rule.document_id is None:
        found = await queries.ranked(read, query, words, scope, _LOOKED_AT)
        related = [document for document, _ in found]
    newest = query.order_by(ContextDocument.updated_at.desc(), ContextDocument.id.desc())
    others = (await read.scalars(newest.limit(_LOOKED_AT))).all()
    known = {document.id for document in related}
    return [*related, *(document for document in others if document.id not in known)]


async def _check_place(
    tx: Transaction, actor: UserActor, project_id: uuid.UUID, wanted: DocumentRuleIn
) -> None:
    if wanted.repository_id is not None:
        repository = await projects.get_repository(tx, actor, wanted.repository_id)
        if repository.project_id != project_id:
            raise DocumentMisplaced(f"{repository.name} is a repository of another project.")
    if wanted.document_id is not None:
        document = await queries.get_document(tx, actor, wanted.document_id)
        if document.project_id not in {None, project_id}:
            raise DocumentMisplaced(f"{document.title!r} is a document of another project.")


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

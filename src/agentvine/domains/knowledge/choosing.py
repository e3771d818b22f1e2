"""Choosing documents for what somebody works on, by id, tag or type, as long as there is room.

Those of one choice are taken by how much they have to do with the work's words, then the newest.
One that does not fit is told by its title and the place where the words stand, so that whoever
reads it can ask for the rest.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import or_

from agentvine.db.session import ReadSession
from agentvine.domains.knowledge import queries
from agentvine.domains.knowledge.enums import DocumentType
from agentvine.domains.knowledge.errors import DocumentMisplaced
from agentvine.domains.knowledge.models import ContextDocument
from agentvine.domains.knowledge.queries import Wanted
from agentvine.kit.actor import Actor
from agentvine.kit.words import any_word, rough_tokens, snippet

MAX_TOKENS = 16_000
"""What all documents together may take."""
_LOOKED_AT = 20
_SNIPPET = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What somebody works on, as far as it decides about documents."""

    project_id: uuid.UUID | None
    """None: what is written for all, and nothing else."""
    repository_id: uuid.UUID | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which documents are meant: one, or those of a tag, a type or both."""

    document_id: uuid.UUID | None = None
    document_type: DocumentType | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """A document that is given; its text, or where the words stand in it."""

    document: ContextDocument
    text: str
    is_whole: bool

    @property
    def tokens(self) -> int:
        """About as many as it takes."""
        return rough_tokens(f"{self.document.title}\n{self.text}")


@dataclass(slots=True)
class Pack:
    """What has been put together so far, each document once."""

    text: str
    room: int = MAX_TOKENS
    given: list[Given] = field(default_factory=list[Given])
    _seen: set[uuid.UUID] = field(default_factory=set[uuid.UUID])

    def add(self, documents: Sequence[ContextDocument], room: int = MAX_TOKENS) -> None:
        """Take what fits, whole or in part."""
        room = min(room, self.room)
        for document in documents:
            if document.id in self._seen:
                continue
            given = Given(document, document.content, is_whole=True)
            if given.tokens > room:
                part = snippet(document.content, any_word(self.text), width=_SNIPPET)
                given = Given(document, part, is_whole=False)
            if given.tokens <= room:
                self._seen.add(document.id)
                self.given.append(given)
                room -= given.tokens
                self.room -= given.tokens


async def chosen_documents(
    read: ReadSession,
    actor: Actor,
    about: About,
    *,
    ids: Iterable[uuid.UUID],
    tags: Iterable[str],
) -> Sequence[Given]:
    """What is given of documents that somebody has named, and of those with one of some tags.

    What is named may be another repository's. What is gone meanwhile is left out.
    """
    pack = Pack(about.text)
    for document_id in ids:
        named = queries.visible_documents(actor).where(ContextDocument.id == document_id)
        pack.add((await read.scalars(named)).all())
    for tag in tags:
        pack.add(await documents_of(read, actor, about, Choice(tag=tag)))
    return pack.given


async def check_choice(
    read: ReadSession, actor: Actor, project_id: uuid.UUID | None, document_id: uuid.UUID
) -> None:
    """See that a document may be used in a project.

    Raises:
        DocumentNotFound: There is none, or it is not theirs to see.
        DocumentMisplaced: It is another project's.
    """
    document = await queries.get_document(read, actor, document_id)
    if document.project_id not in {None, project_id}:
        raise DocumentMisplaced(f"{document.title!r} is a document of another project.")


async def documents_of(
    read: ReadSession, actor: Actor, about: About, choice: Choice
) -> list[ContextDocument]:
    """The documents of a choice, those that have most to do with the work first."""
    wanted = Wanted(
        project_id=about.project_id,
        document_type=choice.document_type,
        tags=[choice.tag] if choice.tag is not None else [],
    )
    query = queries.narrowed(read, queries.visible_documents(actor), wanted).where(
        or_(
            ContextDocument.repository_id.is_(None),
            ContextDocument.repository_id == about.repository_id,
        )
    )
    if choice.document_id is not None:
        query = query.where(ContextDocument.id == choice.document_id)
    if about.project_id is None:
        query = query.where(ContextDocument.project_id.is_(None))
    words = any_word(about.text)
    scope = list({about.project_id, None})
    related: list[ContextDocument] = []
    if not words.is_empty and choice.document_id is None:
        found = await queries.ranked(read, query, words, scope, _LOOKED_AT)
        related = [document for document, _ in found]
    newest = query.order_by(ContextDocument.updated_at.desc(), ContextDocument.id.desc())
    others = (await read.scalars(newest.limit(_LOOKED_AT))).all()
    known = {document.id for document in related}
    return [*related, *(document for document in others if document.id not in known)]

"""Reads of the knowledge slice, and the one place that decides who may see a document."""

import asyncio
import difflib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, or_, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.knowledge.enums import DocumentType
from agentvine.domains.knowledge.errors import (
    DocumentNotFound,
    DocumentVersionNotFound,
    NothingToLookFor,
)
from agentvine.domains.knowledge.models import DOCUMENT_WORDS, ContextDocument, DocumentVersion
from agentvine.domains.projects import queries as projects
from agentvine.kit.actor import Actor, UserActor
from agentvine.kit.pagination import Page, PageRequest
from agentvine.kit.words import WordQuery, parse_words, snippet
from agentvine.protocol.documents import ComparisonOut

_MAX_SCOPES = 1000
"""Of more projects than this a search is not narrowed to them beforehand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which documents are meant."""

    project_id: uuid.UUID | None = None
    """Of this project, and for all; None: of all that one may see."""
    repository_id: uuid.UUID | None = None
    document_type: DocumentType | None = None
    tags: Sequence[str] = ()
    """All of these."""


@dataclass(frozen=True, slots=True)
class Found:
    """A document that a search found."""

    document: ContextDocument
    score: float
    snippet: str


def visible_documents(actor: Actor) -> Select[ContextDocument]:
    """The documents an actor may see: those for all projects, and those of their own."""
    seen = projects.visible_projects(actor)
    return select(ContextDocument).where(
        or_(ContextDocument.project_id.is_(None), ContextDocument.project_id.in_(seen))
    )


async def get_document(read: ReadSession, actor: Actor, document_id: uuid.UUID) -> ContextDocument:
    """A document the actor may see.

    Raises:
        DocumentNotFound: There is none, or it is not theirs to see.
    """
    query = visible_documents(actor).where(ContextDocument.id == document_id)
    found = await read.scalar(query)
    if found is None:
        raise DocumentNotFound(f"You can see no document with the id {document_id}.")
    return found


async def list_documents(
    read: ReadSession, actor: Actor, page: PageRequest, wanted: Wanted
) -> Page[ContextDocument]:
    """The documents the actor may see, oldest first."""
    query = narrowed(read, visible_documents(actor), wanted)
    return await fetch_page(read, query, ContextDocument.id, page)


async def search_documents(
    read: ReadSession, actor: Actor, text: str, wanted: Wanted, *, limit: int
) -> list[Found]:
    """Documents in which all the words occur, the best first.

    Raises:
        NothingToLookFor: There is no word to look for.
    """
    words = parse_words(text)
    if words.is_empty:
        raise NothingToLookFor("Name a word that not every text has; `-word` alone finds nothing.")
    scope = await _scope(read, actor, wanted)
    found = await ranked(
        read, narrowed(read, visible_documents(actor), wanted), words, scope, limit
    )
    best = max((rank for _, rank in found), default=0.0) or 1.0
    return [
        Found(document, max(0.0, rank / best), snippet(document.content, words))
        for document, rank in found
    ]


async def ranked(
    read: ReadSession,
    query: Select[ContextDocument],
    words: WordQuery,
    scope: Sequence[uuid.UUID | None],
    limit: int,
) -> list[tuple[ContextDocument, float]]:
    """Those of a query in which words occur, with their ranks, the best first."""
    narrowing = {"project_id": scope} if scope else {}
    found = read.dialect.full_text.ranked(DOCUMENT_WORDS, words, narrowing)
    statement = (
        query.add_columns(found.c.rank)
        .join(found, found.c.ident == ContextDocument.id)
        .order_by(found.c.rank.desc(), ContextDocument.id.desc())
        .limit(limit)
    )
    return [(document, float(rank)) for document, rank in await read.execute(statement)]


def narrowed(
    read: ReadSession, query: Select[ContextDocument], wanted: Wanted
) -> Select[ContextDocument]:
    """A query for documents, with what is wanted."""
    if wanted.project_id is not None:
        mine = ContextDocument.project_id == wanted.project_id
        query = query.where(or_(ContextDocument.project_id.is_(None), mine))
    if wanted.repository_id is not None:
        query = query.where(ContextDocument.repository_id == wanted.repository_id)
    if wanted.document_type is not None:
        query = query.where(ContextDocument.document_type == wanted.document_type)
    for tag in wanted.tags:
        query = query.where(read.dialect.list_contains(ContextDocument.tags.expression, tag))
    return query


async def list_versions(
    read: ReadSession, document: ContextDocument, page: PageRequest
) -> Page[DocumentVersion]:
    """What a document was, newest first."""
    query = select(DocumentVersion).where(DocumentVersion.document_id == document.id)
    return await fetch_page(read, query, DocumentVersion.version, page, newest_first=True)


async def get_version(read: ReadSession, document: ContextDocument, number: int) -> DocumentVersion:
    """A document as it was.

    Raises:
        DocumentVersionNotFound: It was never so, or that was not kept.
    """
    found = await find_version(read, document, number)
    if found is None:
        raise DocumentVersionNotFound(
            f"{document.title} has the versions 1 to {document.version}.", version=number
        )
    return found


async def find_version(
    read: ReadSession, document: ContextDocument, number: int
) -> DocumentVersion | None:
    """A document as it was, if that was kept."""
    return await read.scalar(
        select(DocumentVersion).where(
            DocumentVersion.document_id == document.id, DocumentVersion.version == number
        )
    )


async def compare(old: DocumentVersion, new: DocumentVersion) -> ComparisonOut:
    """What differs between two versions."""
    # Texts of some thousand lines take their time, which the others need not wait.
    diff = await asyncio.to_thread(_diff, old, new)
    pairs = {
        "title": [old.title, new.title],
        "document_type": [old.document_type.value, new.document_type.value],
        "tags": [old.tags, new.tags],
    }
    return ComparisonOut(
        old_version=old.version,
        new_version=new.version,
        diff=diff,
        changed={name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
    )


def _diff(old: DocumentVersion, new: DocumentVersion) -> str:
    lines = difflib.unified_diff(
        old.content.splitlines(),
        new.content.splitlines(),
        f"version {old.version}",
        f"version {new.version}",
        lineterm="",
    )
    return "".join(f"{line}\n" for line in lines)


async def _scope(read: ReadSession, actor: Actor, wanted: Wanted) -> Sequence[uuid.UUID | None]:
    """The projects whose documents may be found; none where that is all of them, or many."""
    if wanted.project_id is not None:
        return [wanted.project_id, None]
    if not isinstance(actor, UserActor) or actor.is_admin:
        return []
    seen = await read.scalars(projects.visible_projects(actor).limit(_MAX_SCOPES + 1))
    mine: list[uuid.UUID | None] = list(seen)
    return [*mine, None] if len(mine) <= _MAX_SCOPES else []

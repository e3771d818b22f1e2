"""Reads of the templates slice, and the one place that decides who may see a template."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import defer

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.projects import queries as projects
from agentvine.domains.templates.built_in import built_in_templates
from agentvine.domains.templates.definitions import (
    definition_of,
    summary_of_built_in,
    summary_of_row,
)
from agentvine.domains.templates.enums import TemplateCategory, TemplateComplexity
from agentvine.domains.templates.errors import TemplateNotFound
from agentvine.domains.templates.models import Template
from agentvine.kit.actor import Actor
from agentvine.kit.pagination import Page, PageRequest, encode_cursor
from agentvine.protocol.templates import TemplateDefinition, TemplateSummaryOut


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which templates are meant."""

    project_id: uuid.UUID | None = None
    """Of this project, and for all; None: of all that one may see."""
    category: TemplateCategory | None = None
    complexity: TemplateComplexity | None = None
    stack: Sequence[str] = ()
    """All of these, small or as they are written."""
    tags: Sequence[str] = ()
    """All of these."""
    words: Sequence[str] = ()
    """Each of them part of the name or the description, or one of the stack or of the tags."""


@dataclass(frozen=True, slots=True)
class Known:
    """A template, wherever it is kept."""

    summary: TemplateSummaryOut
    definition: TemplateDefinition


def visible_templates(actor: Actor) -> Select[Template]:
    """The rows an actor may see: those for all projects, and those of their own."""
    seen = projects.visible_projects(actor)
    return select(Template).where(or_(Template.project_id.is_(None), Template.project_id.in_(seen)))


async def list_templates(
    read: ReadSession, actor: Actor, page: PageRequest, wanted: Wanted
) -> Page[TemplateSummaryOut]:
    """Those of the package first, then rows, oldest first; without their files."""
    after = page.after.key if page.after is not None else ""
    shelf = [
        summary_of_built_in(each, template)
        for each, template in (await asyncio.to_thread(built_in_templates)).items()
        if str(each) > after
    ]
    found = [each for each in shelf if _fits(each, wanted)][: page.limit]
    if len(found) == page.limit:
        return Page(found, encode_cursor(str(Template.id), str(found[-1].id)))
    query = narrowed(read, visible_templates(actor), wanted).options(defer(Template.files))
    rest = PageRequest(page.limit - len(found), page.after)
    rows = await fetch_page(read, query, Template.id, rest)
    return Page([*found, *map(summary_of_row, rows.items)], rows.next_cursor)


async def get_template(read: ReadSession, actor: Actor, template_id: uuid.UUID) -> Known:
    """A template the actor may see.

    Raises:
        TemplateNotFound: There is none, or it is not theirs to see.
        TemplateInvalid: The row was written by other means, and is none.
    """
    built_in = (await asyncio.to_thread(built_in_templates)).get(template_id)
    if built_in is not None:
        return Known(summary_of_built_in(template_id, built_in), built_in)
    row = await get_row(read, actor, template_id)
    return Known(summary_of_row(row), definition_of(row))


async def get_row(read: ReadSession, actor: Actor, template_id: uuid.UUID) -> Template:
    """A template of one's own that the actor may see.

    Raises:
        TemplateNotFound: There is none, or it is not theirs to see.
    """
    row = await read.scalar(visible_templates(actor).where(Template.id == template_id))
    if row is None:
        raise TemplateNotFound(f"You can see no template with the id {template_id}.")
    return row


def narrowed(read: ReadSession, query: Select[Template], wanted: Wanted) -> Select[Template]:
    """A query for rows, with what is wanted."""
    if wanted.project_id is not None:
        mine = Template.project_id == wanted.project_id
        query = query.where(or_(Template.project_id.is_(None), mine))
    if wanted.category is not None:
        query = query.where(Template.category == wanted.category)
    if wanted.complexity is not None:
        query = query.where(Template.complexity == wanted.complexity)
    for word in wanted.stack:
        query = query.where(_has(read, Template.tech_stack.expression, word))
    for word in wanted.tags:
        query = query.where(_has(read, Template.tags.expression, word))
    for word in wanted.words:
        query = query.where(
            or_(
                Template.name.icontains(word, autoescape=True),
                Template.description.icontains(word, autoescape=True),
                _has(read, Template.tech_stack.expression, word),
                _has(read, Template.tags.expression, word),
            )
        )
    return query


def _has(read: ReadSession, column: ColumnElement[list[str]], word: str) -> ColumnElement[bool]:
    # We store small letters; raw SQL may have written what it liked.
    return read.dialect.list_overlaps(column, sorted({word, word.lower()}))


def _fits(template: TemplateSummaryOut, wanted: Wanted) -> bool:
    """The same for a template of the package."""
    facts = {*template.tech_stack, *template.tags}
    text = f"{template.name}\n{template.description or ''}".lower()
    return (
        wanted.category in (None, template.category)
        and wanted.complexity in (None, template.complexity)
        and all(word.lower() in template.tech_stack for word in wanted.stack)
        and all(word.lower() in template.tags for word in wanted.tags)
        and all(word.lower() in text or word.lower() in facts for word in wanted.words)
    )

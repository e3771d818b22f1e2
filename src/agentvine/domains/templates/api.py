"""Routes of the templates slice."""

import asyncio
import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Query

from agentvine.domains.identity.idempotency import CreateOnce
from agentvine.domains.projects.errors import ProjectArchived, ProjectNotFound, ProjectReadOnly
from agentvine.domains.templates import queries, rendering, service
from agentvine.domains.templates.built_in import built_in_templates
from agentvine.domains.templates.definitions import definition_of, summary_of_row, whole
from agentvine.domains.templates.enums import TemplateCategory, TemplateComplexity
from agentvine.domains.templates.errors import (
    TemplateBuiltIn,
    TemplateForbidden,
    TemplateInvalid,
    TemplateNameTaken,
    TemplateNotFound,
    TemplatePathInvalid,
    TemplateTooLarge,
    TemplateValueInvalid,
    TemplateVariableInvalid,
    TemplateVariableMissing,
    TemplateVariableUnknown,
)
from agentvine.domains.templates.models import Template
from agentvine.domains.templates.queries import Wanted
from agentvine.http.deps import (
    ExpectedVersion,
    Paging,
    Read,
    StaleVersion,
    State,
    Tx,
    check_version,
    require,
)
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.templates import (
    RenderedOut,
    RenderIn,
    TemplateCreateIn,
    TemplateDefinition,
    TemplateOut,
    TemplateSummaryOut,
)

router = APIRouter(tags=["templates"])

TemplateReader = Annotated[UserActor, Depends(require("templates:read"))]
TemplateWriter = Annotated[UserActor, Depends(require("templates:write"))]

_CHECKED = (TemplateInvalid, TemplateVariableInvalid, TemplatePathInvalid, TemplateTooLarge)
_CHANGED = (TemplateForbidden, ProjectReadOnly, ProjectArchived)
_FILLED = (TemplateVariableMissing, TemplateVariableUnknown, TemplateValueInvalid)
_MAX_WORDS = 20

Several = Annotated[list[str] | None, Query(max_length=_MAX_WORDS)]


async def _wanted(
    project_id: uuid.UUID | None = None,
    category: TemplateCategory | None = None,
    complexity: TemplateComplexity | None = None,
    stack: Several = None,
    tag: Several = None,
    word: Several = None,
) -> Wanted:
    return Wanted(
        project_id=project_id,
        category=category,
        complexity=complexity,
        stack=[each.strip() for each in stack or []],
        tags=[each.strip() for each in tag or []],
        words=[each.strip() for each in word or []],
    )


Filter = Annotated[Wanted, Depends(_wanted)]


@router.get("/templates")
async def list_templates(
    actor: TemplateReader, read: Read, page: Paging, wanted: Filter
) -> PageOut[TemplateSummaryOut]:
    """The templates you may see, built-in ones first; of a project, those for all too."""
    found = await queries.list_templates(read, actor, page, wanted)
    return PageOut(items=list(found.items), next_cursor=found.next_cursor)


@router.post(
    "/templates",
    status_code=201,
    responses=responses(*_CHECKED, *_CHANGED, ProjectNotFound, TemplateNameTaken),
)
async def create_template(
    body: TemplateCreateIn, actor: TemplateWriter, state: State, once: CreateOnce
) -> TemplateOut:
    """Keep a template; that it can be rendered is seen to before."""
    await asyncio.to_thread(rendering.check, body)
    async with state.database.transaction(actor) as tx:

        async def create() -> TemplateOut:
            return _shown(await service.create_template(tx, actor, body))

        return await once.run(tx, body, TemplateOut, create)


@router.get("/templates/{template_id}", responses=responses(TemplateNotFound, TemplateInvalid))
async def get_template(template_id: uuid.UUID, actor: TemplateReader, read: Read) -> TemplateOut:
    """One template with its variables and files."""
    found = await queries.get_template(read, actor, template_id)
    return whole(found.summary, found.definition)


@router.put(
    "/templates/{template_id}",
    responses=responses(
        *_CHECKED,
        *_CHANGED,
        *(TemplateNotFound, TemplateBuiltIn, TemplateNameTaken, StaleVersion),
    ),
)
async def replace_template(
    template_id: uuid.UUID,
    body: TemplateDefinition,
    actor: TemplateWriter,
    state: State,
    expected: ExpectedVersion,
) -> TemplateOut:
    """Write all of a template anew."""
    _check_own(template_id)
    await asyncio.to_thread(rendering.check, body)
    async with state.database.transaction(actor) as tx:
        template = await queries.get_row(tx, actor, template_id)
        check_version(template.row_version, expected)
        return _shown(await service.replace_template(tx, actor, template, body))


@router.delete(
    "/templates/{template_id}",
    status_code=204,
    responses=responses(*_CHANGED, TemplateNotFound, TemplateBuiltIn),
)
async def delete_template(template_id: uuid.UUID, actor: TemplateWriter, tx: Tx) -> None:
    """Remove a template; what was made from it stays."""
    _check_own(template_id)
    await service.delete_template(tx, actor, await queries.get_row(tx, actor, template_id))


@router.post(
    "/templates/{template_id}/render",
    responses=responses(
        *_FILLED, TemplateNotFound, TemplateInvalid, TemplatePathInvalid, TemplateTooLarge
    ),
)
async def render_template(
    template_id: uuid.UUID, body: RenderIn, actor: TemplateReader, state: State
) -> RenderedOut:
    """The files of a new project; nothing is kept, and nothing is written anywhere."""
    async with state.database.read() as read:
        found = await queries.get_template(read, actor, template_id)
    template = found.definition
    values = rendering.fill_in(template.variables, body.values)
    files = await asyncio.to_thread(rendering.render, template, values)
    return RenderedOut(
        template=template.name,
        version=found.summary.version,
        values=values,
        test_command=template.test_command,
        files=files,
    )


def _shown(row: Template) -> TemplateOut:
    return whole(summary_of_row(row), definition_of(row))


def _check_own(template_id: uuid.UUID) -> None:
    if (found := built_in_templates().get(template_id)) is not None:
        raise TemplateBuiltIn(
            f"{found.name} comes with each release. Export it, name it otherwise, and import that."
        )

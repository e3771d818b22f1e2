"""Commands on templates: make, replace, remove. All are audited."""

import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.identity.enums import UserId
from agentvine.domains.projects import queries as projects
from agentvine.domains.projects.enums import ProjectId
from agentvine.domains.templates.built_in import is_built_in
from agentvine.domains.templates.definitions import columns_of
from agentvine.domains.templates.enums import TemplateId
from agentvine.domains.templates.errors import TemplateForbidden, TemplateNameTaken
from agentvine.domains.templates.models import Template
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.templates import TemplateCreateIn, TemplateDefinition


async def create_template(tx: Transaction, actor: UserActor, wanted: TemplateCreateIn) -> Template:
    """Keep a template that was checked, for a project or (an admin) for all of them.

    Raises:
        ProjectNotFound: The project is not theirs to see.
        ProjectReadOnly: They may only look.
        ProjectArchived: Nothing new begins there.
        TemplateForbidden: Only an admin makes templates for all projects.
        TemplateNameTaken: There is one of this name.
    """
    await _check_may_change(tx, actor, wanted.project_id)
    await _check_name(tx, wanted.name, wanted.project_id, None)
    template = Template(
        id=TemplateId(new_id()),
        project_id=ProjectId(wanted.project_id) if wanted.project_id else None,
        created_by=UserId(actor.user_id),
        **columns_of(wanted),
    )
    tx.add(template)
    await _flush_name(tx, wanted.name)
    _record(tx, "template.created", template, None, _told(template))
    await tx.flush()
    await tx.refresh(template)
    return template


async def replace_template(
    tx: Transaction, actor: UserActor, template: Template, wanted: TemplateDefinition
) -> Template:
    """Write a template that was checked in the place of what it was.

    Raises:
        TemplateForbidden: It is not theirs to change.
        ProjectReadOnly: They may only look at its project.
        ProjectArchived: Nothing changes there.
        TemplateNameTaken: There is another of this name.
    """
    await _check_may_change(tx, actor, template.project_id)
    await _check_name(tx, wanted.name, template.project_id, template.id)
    values = columns_of(wanted)
    changed = {name: new for name, new in values.items() if getattr(template, name) != new}
    if not changed:
        return template
    before = _told(template)
    for name, value in changed.items():
        setattr(template, name, value)
    await _flush_name(tx, wanted.name)
    _record(tx, "template.replaced", template, before, _told(template))
    await tx.flush()
    await tx.refresh(template)
    return template


async def delete_template(tx: Transaction, actor: UserActor, template: Template) -> None:
    """Remove a template; what was made from it stays.

    Raises:
        TemplateForbidden: It is not theirs to change.
        ProjectReadOnly: They may only look at its project.
        ProjectArchived: Nothing changes there.
    """
    await _check_may_change(tx, actor, template.project_id)
    _record(tx, "template.deleted", template, _told(template), None)
    await tx.delete(template)
    await tx.flush()


async def _check_may_change(
    tx: Transaction, actor: UserActor, project_id: uuid.UUID | None
) -> None:
    refusal = TemplateForbidden("Name a project, or ask an admin: this is for all projects.")
    await projects.check_may_change_what_is_of(tx, actor, project_id, refusal)


async def _check_name(
    tx: Transaction, name: str, project_id: uuid.UUID | None, own: uuid.UUID | None
) -> None:
    if is_built_in(name):
        raise TemplateNameTaken(f"{name} is a built-in template; give yours another name.")
    query = select(Template.id).where(
        Template.name == name, Template.project_id.is_not_distinct_from(project_id)
    )
    if any(found != own for found in await tx.scalars(query)):
        raise _name_taken(name)


async def _flush_name(tx: Transaction, name: str) -> None:
    """Store a template, for its version; whoever takes a name at the same time is first or second.

    Raises:
        TemplateNameTaken: Second.
    """
    try:
        await tx.flush()
    except IntegrityError as error:
        if tx.dialect.violation(error).kind != "unique":
            raise
        raise _name_taken(name) from error


def _name_taken(name: str) -> TemplateNameTaken:
    return TemplateNameTaken(
        f"There is a template {name} already; `agentvine template import --replace` changes it."
    )


def _told(template: Template) -> dict[str, Any]:
    """Without the files."""
    return {
        "name": template.name,
        "files": len(template.files),
        "required_vars": template.required_vars,
        "optional_vars": template.optional_vars,
        "version": template.row_version,
    }


def _record(
    tx: Transaction,
    action: str,
    template: Template,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
) -> None:
    history.record(
        tx,
        action,
        entity=("template", template.id),
        project_id=template.project_id,
        before=before,
        after=after,
    )

"""Templates as rows, as definitions that can be rendered, and as what is answered."""

import uuid
from typing import Any

from pydantic import ValidationError

from agentvine.domains.templates.errors import TemplateInvalid
from agentvine.domains.templates.models import Template
from agentvine.protocol.templates import (
    TemplateDefinition,
    TemplateDocument,
    TemplateOut,
    TemplateSource,
    TemplateSummaryOut,
    TemplateVariable,
)

_SHARED = (
    *("name", "description", "category", "complexity", "estimated_setup_time"),
    *("tech_stack", "tags", "test_command"),
)
"""What a row and a definition have alike."""


def columns_of(template: TemplateDefinition) -> dict[str, Any]:
    """What a row keeps of a definition."""
    values = {name: getattr(template, name) for name in _SHARED}
    required, optional = _names(template)
    return values | {
        "required_vars": required,
        "optional_vars": optional,
        "variables": [each.model_dump(mode="json") for each in template.variables],
        "files": {
            path: file.model_dump(mode="json") for path, file in sorted(template.files.items())
        },
    }


def definition_of(row: Template) -> TemplateDefinition:
    """What can be rendered.

    Raises:
        TemplateInvalid: The row was written by other means, and is none.
    """
    try:
        # Rows of raw SQL may have names alone, and no line for each variable.
        told = {str(each["name"]): each for each in row.variables}
        given = [told.pop(name, {"name": name}) for name in row.required_vars]
        rest = [told.get(name, {"name": name, "default": ""}) for name in row.optional_vars]
        order = [each["name"] for each in row.variables]
        variables = sorted(
            (TemplateVariable.model_validate(each) for each in (*given, *rest)),
            key=lambda each: order.index(each.name) if each.name in order else len(order),
        )
        shared = {name: getattr(row, name) for name in _SHARED}
        shared["description"] = row.description or ""
        return TemplateDefinition(**shared, variables=variables, files=row.files)
    except (ValidationError, LookupError, TypeError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise TemplateInvalid(f"{row.name} was written by other means: {why}.") from None


def summary_of_row(row: Template) -> TemplateSummaryOut:
    """A row without its files, which need not be loaded."""
    return TemplateSummaryOut(
        **{name: getattr(row, name) for name in _SHARED},
        id=row.id,
        required_vars=row.required_vars,
        optional_vars=row.optional_vars,
        source=TemplateSource.OWN,
        project_id=row.project_id,
        version=row.row_version,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def summary_of_built_in(template_id: uuid.UUID, template: TemplateDocument) -> TemplateSummaryOut:
    """A template of the package without its files."""
    required, optional = _names(template)
    return TemplateSummaryOut(
        **{name: getattr(template, name) for name in _SHARED},
        id=template_id,
        required_vars=required,
        optional_vars=optional,
        source=TemplateSource.BUILT_IN,
        project_id=None,
        version=template.version,
        created_at=None,
        updated_at=None,
    )


def whole(summary: TemplateSummaryOut, template: TemplateDefinition) -> TemplateOut:
    """A template with all that is in it."""
    parts = template.model_dump(include={"variables", "files"})
    return TemplateOut.model_validate({**summary.model_dump(), **parts})


def _names(template: TemplateDefinition) -> tuple[list[str], list[str]]:
    required = [each.name for each in template.variables if each.is_required]
    return required, [each.name for each in template.variables if not each.is_required]

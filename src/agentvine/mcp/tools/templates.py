"""People's assistants see which templates there are, and what is to be filled in."""

from pydantic import Field

from agentvine.domains.templates import queries
from agentvine.domains.templates.queries import Wanted
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, read_id
from agentvine.protocol.templates import TemplateSummaryOut, TemplateVariable


class ListTemplates(Paged):
    """List templates that a new repository can be made of, all of them or those that fit.

    Use it when somebody wants to begin something new. Making the repository is for the person:
    `agentvine template render NAME FOLDER --var NAME=VALUE`.
    """

    stack: list[str] = Field(
        default_factory=list[str], max_length=10, description="Such as fastapi; all must be there."
    )
    tags: list[str] = Field(default_factory=list[str], max_length=10)
    words: list[str] = Field(
        default_factory=list[str], max_length=10, description="In the name, the stack or the tags."
    )


class ShowTemplate(ToolInput):
    """Show a template: what is to be filled in, with defaults and patterns, and which files."""

    template: str = Field(min_length=1, max_length=60, description="Its id, from list_templates.")


async def _list(call: PersonCall, given: ListTemplates) -> str:
    wanted = Wanted(stack=given.stack, tags=given.tags, words=given.words)
    async with call.state.database.read() as read:
        found = await queries.list_templates(read, call.actor, given.page, wanted)
    return listed([_line(row) for row in found.items], found.next_cursor, "No template fits.")


async def _show(call: PersonCall, given: ShowTemplate) -> str:
    template_id = read_id(given.template, "template")
    async with call.state.database.read() as read:
        found = await queries.get_template(read, call.actor, template_id)
    lines = [_line(found.summary), found.definition.description]
    lines += ["variables:", *map(_variable, found.definition.variables)]
    lines += ["files:", *sorted(found.definition.files)]
    if found.definition.test_command:
        lines.append(f"tested by: {found.definition.test_command}")
    return "\n".join(line for line in lines if line)


def _line(row: TemplateSummaryOut) -> str:
    stack, needed = ", ".join(row.tech_stack), ", ".join(row.required_vars) or "nothing"
    return f"{row.name} [{row.category.value}] {stack}; to fill in: {needed} (id {row.id})"


def _variable(variable: TemplateVariable) -> str:
    need = "needed" if variable.is_required else f"otherwise {variable.default!r}"
    pattern = f", matches {variable.pattern}" if variable.pattern else ""
    return f"- {variable.name} ({need}{pattern}) {variable.description}".rstrip()


TOOLS = (
    PersonTool(
        name="list_templates",
        takes=ListTemplates,
        scope="templates:read",
        do=_list,
        is_read_only=True,
    ),
    PersonTool(
        name="show_template",
        takes=ShowTemplate,
        scope="templates:read",
        do=_show,
        is_read_only=True,
    ),
)

"""People's assistants see which templates there are, fill them in, and get the files."""

import asyncio

from pydantic import Field

from agentvine.domains.templates import queries, rendering
from agentvine.domains.templates.queries import Wanted
from agentvine.kit.errors import Invalid
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.documents import text_part
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, read_id
from agentvine.protocol.templates import (
    MAX_VARIABLES,
    RenderedFileOut,
    TemplateEncoding,
    TemplateSummaryOut,
    TemplateVariable,
)

_MAX_AT_ONCE = 15_000
"""Characters of files in one answer."""
_MAX_NAMED = 50


class NoSuchFile(Invalid):
    """The template makes no such file."""

    code = "template_file_unknown"


class ListTemplates(Paged):
    """List templates that a new repository can be made of, all of them or those that fit.

    Use it when somebody wants to begin something new; show_template then says what is to be filled
    in, and render_template makes the files.
    """

    stack: list[str] = Field(
        default_factory=list[str], max_length=10, description="Such as fastapi; all must be there."
    )
    tags: list[str] = Field(default_factory=list[str], max_length=10)
    words: list[str] = Field(
        default_factory=list[str],
        max_length=10,
        description="In the name, the description, the stack or the tags.",
    )


class ShowTemplate(ToolInput):
    """Show a template: what is to be filled in, with defaults and patterns, and which files."""

    template: str = Field(min_length=1, max_length=60, description="Its id, from list_templates.")


class RenderTemplate(ToolInput):
    """Make the files of a new repository out of a template; they are shown, and written nowhere.

    Where you can run commands, `agentvine template render NAME FOLDER --var NAME=VALUE --register`
    is shorter: it writes them, commits them and registers the repository. Otherwise write the files
    yourself where the person wants them. Without file they are listed, and shown where they are
    short enough; file then gets one of them.
    """

    template: str = Field(min_length=1, max_length=60, description="Its id, from list_templates.")
    values: dict[str, str] = Field(
        default_factory=dict[str, str],
        max_length=MAX_VARIABLES,
        description="By variable, as show_template names them.",
    )
    file: str = Field(default="", max_length=4000, description="Only this one, by its path.")
    start: int = Field(default=0, ge=0, description="From which character of the file on.")


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


async def _render(call: PersonCall, given: RenderTemplate) -> str:
    template_id = read_id(given.template, "template")
    async with call.state.database.read() as read:
        found = await queries.get_template(read, call.actor, template_id)
    definition = found.definition
    values = rendering.fill_in(definition.variables, given.values)
    files = await asyncio.to_thread(rendering.render, definition, values)
    if given.file:
        for file in files:
            if file.path == given.file:
                return text_part(file.content, given.start)
        raise NoSuchFile(f"It makes {', '.join(file.path for file in files[:_MAX_NAMED])}.")
    lines = [f"{definition.name} makes {len(files)} files of {values}:"]
    lines += [f"- {file.path}{_marks(file)}, {len(file.content)} characters" for file in files]
    if definition.test_command:
        lines.append(f"tested by: {definition.test_command}")
    if sum(len(file.content) for file in files) <= _MAX_AT_ONCE:
        lines += [f"\n=== {file.path}\n{file.content}" for file in files]
    else:
        lines.append("They are too long for one answer: ask for each with file.")
    return "\n".join(lines)


def _marks(file: RenderedFileOut) -> str:
    is_binary = file.encoding is TemplateEncoding.BASE64
    return f"{' (executable)' * file.executable}{' (in base64)' * is_binary}"


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
    PersonTool(
        name="render_template",
        takes=RenderTemplate,
        scope="templates:read",
        do=_render,
        is_read_only=True,
        how_to_get_more="Ask for each file with file.",
    ),
)

"""``python -m tools.gen_tools_doc``: writes docs/reference/mcp-tools.md from the table of tools."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, cast

from agentvine.mcp.table import PersonTool, Tool, description_of, schema_of
from agentvine.mcp.tools import TOOLBOX
from tools.pages import Page, code, table

_HEADER = """\
# Tools over MCP

Written from the table of tools by `python -m tools.gen_tools_doc`, not by hand; a test holds it to
that. The words are those that models are shown. How to get them to an agent or an assistant:
[use the tools](../how-to/use-mcp.md).
"""


def render() -> str:
    """The whole page."""
    parts = [_HEADER, "## For the agents of runs\n", "With the key of the run, in its project.\n"]
    for tool in TOOLBOX.for_runs.values():
        parts += _section(tool)
    parts += ["## For people's own assistants\n", "With a token, and what it may do.\n"]
    for tool in TOOLBOX.for_people.values():
        parts += _section(tool)
    return "\n".join(parts)


def _section(tool: Tool) -> Iterator[str]:
    scope = f" (`{tool.scope}`)" if isinstance(tool, PersonTool) else ""
    yield f"### {tool.name}{scope}\n"
    yield f"{description_of(tool)}\n"
    schema = schema_of(tool)
    required = set(schema.get("required", ()))
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    rows = [
        (code(name), _kind(about), "yes" if name in required else "", about.get("description", ""))
        for name, about in properties.items()
    ]
    if rows:
        yield from table(("Input", "Is", "Needed", "What it means"), rows)


def _kind(about: Mapping[str, Any]) -> str:
    if "enum" in about:
        return ", ".join(code(each) if each else "empty" for each in about["enum"])
    if about.get("type") == "array":
        return f"list of {_kind(about['items'])}"
    return str(about.get("type"))


PAGE = Page("mcp-tools.md", "tools.gen_tools_doc", render)

if __name__ == "__main__":
    sys.exit(PAGE.main())

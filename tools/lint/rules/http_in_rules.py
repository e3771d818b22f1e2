"""Rules know nothing of HTTP; they raise errors of the eight categories.

A status chosen in a service is wrong for the CLI, for MCP and for jobs, and cannot be mapped twice.
``http/problems.py`` gives each category its status; a slice's ``api.py`` is the only file that
knows FastAPI.
"""

from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_HTTP = {"fastapi", "starlette"}
_EDGE = Scope(
    include=(
        "src/agentvine/http/*",
        "src/agentvine/server/*",
        "src/agentvine/web/*",
        "src/agentvine/mcp/*",
        "*/api.py",
        "*/api/*",
        "src/agentvine/domains/identity/idempotency.py",  # a dependency of every creating route
    )
)


def check(source: SourceFile) -> Iterator[Finding]:
    """Imports of the web framework off the edge, and of its exceptions anywhere."""
    at_edge = _EDGE.covers(source.path)
    for statement, module in source.imported_modules():
        if module.endswith(".HTTPException"):
            yield Finding.at(statement, "HTTPException: raise an AppError of the right category")
        elif module.split(".", 1)[0] in _HTTP and not at_edge:
            yield Finding.at(statement, f"{module}: HTTP stays in api.py, http/ and server/")


RULE = Rule(
    code="AV023",
    title="HTTP is known at the edge only",
    scope=Scope(include=("src/agentvine/*",), exclude=("src/agentvine/http/problems.py",)),
    words=("fastapi", "starlette"),
    check=check,
    good=(
        Sample("src/agentvine/domains/tasks/api.py", "from fastapi import APIRouter\n"),
        Sample("src/agentvine/http/deps.py", "from fastapi import Depends\n"),
    ),
    bad=(
        Sample("src/agentvine/domains/tasks/service.py", "from fastapi import status\n"),
        Sample("src/agentvine/domains/tasks/api.py", "from fastapi import HTTPException\n"),
    ),
)

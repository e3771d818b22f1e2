"""Who may see a project's rows is decided in functions named ``visible_*``, once per slice.

A filter on owners or members that is written again in a query will miss the case the other one
learned (the administrator, the soft-deleted project, the read-only viewer), and a leak of another
team's rows raises no error.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_MEMBERS = "ProjectMember"
_OWNER = "owner_id"
# The projects slice owns the members: it adds and lists them, and says what "visible" means.
_HOME = ("visible", "writable", "member")


def check(source: SourceFile) -> Iterator[Finding]:
    """Queries that name members, or compare an owner's column, outside visible_* functions."""
    for node in source.nodes(ast.Name, ast.Attribute):
        what = _what_it_filters(node)
        if what is None:
            continue
        names = [function.name for function in source.enclosing_functions(node)]
        at_home = source.path.startswith("src/agentvine/domains/projects/")
        allowed = _HOME if at_home else ("visible_",)
        if names and not any(part in name for name in names for part in allowed):
            yield Finding.at(node, f"{what} outside a visible_* function: go through one")


def _what_it_filters(node: ast.Name | ast.Attribute) -> str | None:
    if isinstance(node, ast.Name):
        return f"query over {_MEMBERS}" if node.id == _MEMBERS else None
    is_column = isinstance(node.value, ast.Name) and node.value.id[:1].isupper()
    return f"filter on {_OWNER}" if node.attr == _OWNER and is_column else None


RULE = Rule(
    code="AV009",
    title="membership is decided in visible_* functions only",
    scope=Scope(
        include=(
            "src/agentvine/domains/*",
            "src/agentvine/reactions/*",
            "src/agentvine/web/*",
            "src/agentvine/mcp/*",
            "src/agentvine/server/*",
        ),
        exclude=("*/models.py", "*/models/*", "*/mapping.py"),
    ),
    words=(_MEMBERS, _OWNER),
    check=check,
    good=(
        Sample(
            "src/agentvine/domains/tasks/queries.py",
            "def visible_tasks(actor):\n    return select(T).where(Project.owner_id == actor.id)\n",
        ),
        Sample(
            "src/agentvine/domains/projects/service.py",
            "def add_member(tx, user):\n    tx.add(ProjectMember(user_id=user))\n",
        ),
        Sample(
            "src/agentvine/domains/projects/service.py",
            "def create(tx, actor):\n    return Project(owner_id=actor.id)\n",
        ),
        Sample(
            "src/agentvine/domains/projects/api.py",
            "def show(project):\n    return project.owner_id\n",
        ),
    ),
    bad=(
        Sample(
            "src/agentvine/domains/tasks/queries.py",
            "def list_tasks(actor):\n    return select(Task).where(Project.owner_id == actor.id)\n",
        ),
        Sample(
            "src/agentvine/domains/tasks/service.py",
            "def may(tx, actor):\n    return exists().where(ProjectMember.user_id == actor.id)\n",
        ),
    ),
)

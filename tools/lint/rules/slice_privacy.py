"""A slice's routes, schemas, jobs and store are its own; others use its service and queries.

``schemas.py`` is a promise to API clients: another slice that builds on it can no longer let it
change. ``store.py`` skips the rules that ``service.py`` keeps. Routes and jobs are edges, which the
server wires and nobody calls.
"""

from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_PREFIX = "agentvine.domains."
_PRIVATE = {"api", "schemas", "jobs", "store"}


def check(source: SourceFile) -> Iterator[Finding]:
    """Imports of another slice's private modules."""
    own = source.path.removeprefix("src/agentvine/domains/").split("/", 1)[0]
    for statement, module in source.imported_modules():
        if not module.startswith(_PREFIX):
            continue
        slice_name, _, role = module.removeprefix(_PREFIX).partition(".")
        if slice_name != own and role.split(".", 1)[0] in _PRIVATE:
            yield Finding.at(statement, f"{module} is private to {slice_name}: use its service")


RULE = Rule(
    code="AV017",
    title="api, schemas, jobs and store are private to their slice",
    scope=Scope(include=("src/agentvine/domains/*", "src/agentvine/reactions/*")),
    words=(_PREFIX,),
    check=check,
    good=(
        Sample(
            "src/agentvine/domains/work/service.py", "from agentvine.domains.work import store\n"
        ),
        Sample(
            "src/agentvine/domains/work/service.py",
            "from agentvine.domains.tasks import service as tasks\n",
        ),
    ),
    bad=(
        Sample(
            "src/agentvine/domains/work/api.py",
            "from agentvine.domains.tasks.schemas import Task\n",
        ),
        Sample("src/agentvine/reactions/merged.py", "from agentvine.domains.work import store\n"),
    ),
)

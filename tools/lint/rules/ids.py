"""Ids are made by ``kit.ids``: time-ordered, one kind everywhere.

A random key (version 4) scatters inserts over the whole index and cannot be paged by, and a second
source of ids is one that a test cannot foresee.
"""

from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_BANNED = {f"uuid.uuid{version}" for version in (1, 4, 6, 7, 8)}


def check(source: SourceFile) -> Iterator[Finding]:
    """Uses of an id generator, called or passed on as a default."""
    for node, name in source.references():
        if name in _BANNED or name.startswith("uuid_utils."):
            yield Finding.at(node, f"{name} outside kit/: take kit.ids.new_id")


RULE = Rule(
    code="AV003",
    title="ids are made in kit/ only",
    scope=Scope(include=("src/agentvine/*",), exclude=("src/agentvine/kit/*",)),
    words=("uuid",),
    check=check,
    good=(
        Sample("src/agentvine/kit/ids.py", "import uuid_utils\nmake = uuid_utils.uuid7\n"),
        Sample("src/agentvine/protocol/tasks.py", "from uuid import UUID\ntask_id: UUID\n"),
        Sample("src/agentvine/worker/run.py", "import uuid\nname = uuid.uuid5(space, text)\n"),
    ),
    bad=(
        Sample(
            "src/agentvine/domains/tasks/models.py", "import uuid\nid = c(default=uuid.uuid4)\n"
        ),
        Sample("src/agentvine/worker/run.py", "from uuid import uuid4 as new\nx = new()\n"),
        Sample("src/agentvine/worker/run.py", "import uuid_utils\nx = uuid_utils.uuid7()\n"),
    ),
)

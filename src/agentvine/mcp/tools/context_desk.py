"""People's assistants take snapshots of repositories, look into them and compare them."""

from typing import Any, cast

from pydantic import Field

from agentvine.domains.contexts import queries, telling
from agentvine.domains.contexts.queries import Wanted as WantedContexts
from agentvine.domains.contexts.taking import SnapshotTaker, Wanted
from agentvine.domains.projects import queries as projects
from agentvine.kit.pagination import PageRequest
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.documents import text_part
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, read_id, titled
from agentvine.protocol.contexts import ContextComparisonOut, ContextOut, ContextSummaryOut

_MAX_FILES = 100


class ListSnapshots(Paged):
    """List snapshots of repositories, newest first: what each was made of at a commit.

    Use it to find two to compare, or those that have a file or a variable.
    """

    repository_id: str = Field(default="", max_length=40, description="See list_repositories.")
    path: str = Field(default="", max_length=1000, description="Only those with this file.")
    variable: str = Field(
        default="", max_length=128, description="Only those with this environment variable."
    )


class ShowSnapshot(ToolInput):
    """Show what a snapshot says of its repository: dependencies, deployment, variables, metrics.

    With under it lists the files below that folder, too. Values of variables are never shown.
    """

    snapshot: str = Field(min_length=1, max_length=40, description="See list_snapshots.")
    under: str = Field(default="", max_length=1000, description="Such as src/; its files, by path.")


class ReadSnapshotFile(ToolInput):
    """Read a file as it was when the snapshot was taken, part by part where it is long."""

    snapshot: str = Field(min_length=1, max_length=40, description="See list_snapshots.")
    path: str = Field(min_length=1, max_length=4000)
    start: int = Field(default=0, ge=0, description="From which character on.")


class CompareSnapshots(ToolInput):
    """Tell what differs between two snapshots of one repository.

    Files, dependencies, names of variables, deployment and metrics. Use it to say what has changed
    between two days, or what a change has done besides its own files.
    """

    before: str = Field(min_length=1, max_length=40, description="See list_snapshots.")
    after: str = Field(min_length=1, max_length=40)


class TakeSnapshot(ToolInput):
    """Take a snapshot of a repository as it is now; nothing in the repository is changed.

    It becomes the repository's current context. Take one before something large is begun, to
    compare with afterwards.
    """

    repository_id: str = Field(min_length=1, max_length=40, description="See list_repositories.")
    name: str = Field(default="", max_length=255, description="Empty: one is made.")
    branch: str = Field(default="", max_length=200, description="Empty: the default branch.")


async def _list(call: PersonCall, given: ListSnapshots) -> str:
    wanted = WantedContexts(
        repository_id=read_id(given.repository_id, "repository") if given.repository_id else None,
        path=given.path or None,
        variable=given.variable or None,
    )
    async with call.state.database.read() as read:
        found = await queries.list_contexts(read, call.actor, given.page, wanted)
        lines = [_line(telling.summary_out(row)) for row in found.items]
    return listed(lines, found.next_cursor, "There are none.")


async def _show(call: PersonCall, given: ShowSnapshot) -> str:
    snapshot_id = read_id(given.snapshot, "snapshot")
    async with call.state.database.read() as read:
        found = await queries.get_context(
            read, call.actor, snapshot_id, with_files=bool(given.under)
        )
    lines = _facts(telling.context_out(found))
    if given.under:
        page = telling.list_files(found, PageRequest(_MAX_FILES), under=given.under)
        files = [f"- {file.path} ({file.kind}, {file.bytes} bytes)" for file in page.items]
        more = [f"- and more: say a longer path than {given.under}"] if page.next_cursor else []
        lines += [f"files under {given.under}:", *(files or ["- none"]), *more]
    return "\n".join(lines)


async def _read(call: PersonCall, given: ReadSnapshotFile) -> str:
    snapshot_id = read_id(given.snapshot, "snapshot")
    async with call.state.database.read() as read:
        found = await queries.get_context(read, call.actor, snapshot_id, with_files=True)
        blob = await queries.get_content(read, found, given.path)
    return text_part(blob.content or "", given.start)


async def _compare(call: PersonCall, given: CompareSnapshots) -> str:
    before, after = read_id(given.before, "snapshot"), read_id(given.after, "snapshot")
    async with call.state.database.read() as read:
        return _differences(await queries.get_comparison(read, call.actor, before, after))


async def _take(call: PersonCall, given: TakeSnapshot) -> str:
    repository_id = read_id(given.repository_id, "repository")
    async with call.state.database.read() as read:
        repository = await projects.get_repository_for_change(read, call.actor, repository_id)
        if repository.project_id is not None:
            await projects.get_active_project_for_change(read, call.actor, repository.project_id)
    wanted = Wanted(name=given.name or None, branch=given.branch or None)
    taken = await call.state.effect(SnapshotTaker).take(call.actor, repository, wanted)
    return "\n".join(["Taken:", *_facts(telling.context_out(taken))])


def _line(row: ContextSummaryOut) -> str:
    where = f"{row.branch or '?'} at {(row.commit_id or '?')[:12]}"
    when = f"{row.taken_at:%Y-%m-%d %H:%M}" if row.taken_at else "not filled yet"
    return f"[{row.status.value}] {row.name}, {where}, {when}, {row.file_count} files (id {row.id})"


def _facts(row: ContextOut) -> list[str]:
    lines = [_line(row), f"{row.total_bytes} bytes"]
    lines += [
        f"{name}: {value}"
        for name in ("test_coverage", "security_score", "performance_score")
        if (value := getattr(row, name)) is not None
    ]
    needed = [f"{each.ecosystem}:{each.name} {each.requirement}" for each in row.dependencies]
    lines += titled("dependencies", needed)
    lines += titled("variables", [each.name for each in row.environment])
    for kind, files in row.deployment.items():
        lines += titled(kind, [_facts_of_file(file) for file in files])
    return [*lines, *titled("notes", row.notes)]


def _facts_of_file(file: Any) -> str:
    """One file of deployment; of what it names, what is not empty."""
    if not isinstance(file, dict):
        return str(file)
    facts = cast("dict[str, Any]", file)
    named = [f"{name} {value}" for name, value in facts.items() if value and name != "path"]
    return "; ".join([str(facts.get("path", "a file")), *named])


def _differences(found: ContextComparisonOut) -> str:
    lines = [f"before: {_line(found.before)}", f"after: {_line(found.after)}"]
    files = [f"{each.change} {each.path}" for each in found.files]
    needed = [
        f"{each.ecosystem}:{each.name} {_wanted(each.before)} -> {_wanted(each.after)}"
        for each in found.dependencies
    ]
    metrics = [f"{each.metric} {each.before} -> {each.after}" for each in found.metrics]
    parts = [
        *titled("files", files, besides=found.files_left_out),
        *titled("dependencies", needed),
        *titled("variables added", found.variables_added),
        *titled("variables removed", found.variables_removed),
        *titled("variables with another value", found.variables_changed),
        *titled("deployment added", found.deployment_added),
        *titled("deployment removed", found.deployment_removed),
        *titled("metrics", metrics),
    ]
    return "\n".join([*lines, *(parts or ["Nothing differs."])])


def _wanted(requirement: str | None) -> str:
    return "none" if requirement is None else requirement or "any"


TOOLS = (
    PersonTool(
        name="list_snapshots",
        takes=ListSnapshots,
        scope="projects:read",
        do=_list,
        is_read_only=True,
    ),
    PersonTool(
        name="show_snapshot",
        takes=ShowSnapshot,
        scope="projects:read",
        do=_show,
        is_read_only=True,
    ),
    PersonTool(
        name="read_snapshot_file",
        takes=ReadSnapshotFile,
        scope="projects:read",
        do=_read,
        is_read_only=True,
    ),
    PersonTool(
        name="compare_snapshots",
        takes=CompareSnapshots,
        scope="projects:read",
        do=_compare,
        is_read_only=True,
    ),
    PersonTool(name="take_snapshot", takes=TakeSnapshot, scope="projects:write", do=_take),
)

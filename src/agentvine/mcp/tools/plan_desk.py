"""People's assistants draft plans, show them, and pass on that one is accepted."""

from typing import Any, Literal

from pydantic import Field

from agentvine.domains.planning import queries as planning
from agentvine.domains.planning import service
from agentvine.domains.planning.errors import StepsMissing
from agentvine.domains.plans import queries
from agentvine.domains.plans.comparing import diff_versions
from agentvine.domains.plans.drafting import draft_plan
from agentvine.domains.plans.enums import PlanStatus
from agentvine.domains.plans.queries import PlanFilter
from agentvine.http.deps import check_version
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.plans import PlanParts, plan_line, plan_words, preview_words
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, read_id, task_line
from agentvine.protocol.planning import PlanAcceptIn
from agentvine.protocol.plans import PlanSearchIn
from agentvine.protocol.tasks import TaskRun


class ListPlans(Paged):
    """List plans, newest first, each version of its own."""

    status: Literal["draft", "active", "completed", "archived", ""] = Field(
        default="", description="Empty: all."
    )
    repository_id: str = Field(default="", max_length=40, description="See list_repositories.")


class GetPlan(ToolInput):
    """Read a version of a plan, with what accepting it would do and the state it is in.

    Use it before accept_plan, and show the person what would be done.
    """

    plan: str = Field(min_length=1, max_length=40, description="Its id; see list_plans.")


class SearchPlans(Paged):
    """Find plans by what they hold, newest first: a document that must occur in one.

    {"steps": [{"type": "test"}]} finds all with a step of that type, {"steps": [{"files":
    ["src/app.py"]}]} those with a step that touches that file, {"goal": "..."} that very goal.
    """

    contains: dict[str, Any] = Field(min_length=1, description="Values must be the same.")
    repository_id: str = Field(default="", max_length=40, description="See list_repositories.")


class ComparePlans(ToolInput):
    """Tell what differs from one version of a plan to another: the text, the steps, the files.

    Use it to tell a person what has changed since they last looked.
    """

    before: str = Field(min_length=1, max_length=40, description="Its id; see list_plans.")
    after: str = Field(min_length=1, max_length=40)


class DraftPlan(PlanParts):
    """Write a plan as a draft: what is wanted, and the steps that become tasks when it is accepted.

    A draft of the same name is written anew; where the newest version counts already, the next one
    is begun. Nothing is done before somebody accepts it.
    """

    repository_id: str = Field(min_length=1, max_length=40, description="See list_repositories.")


class AcceptPlan(ToolInput):
    """Accept a version of a plan: each of its steps becomes a task, which begins by itself.

    This is the person's decision: do it only when they have said so, after they saw what get_plan
    says that it would do.
    """

    plan: str = Field(min_length=1, max_length=40)
    state: int = Field(description="The state that get_plan told; another one is refused.")
    runtime: str = Field(
        default="claude-code", min_length=1, max_length=50, description="Who does the steps."
    )
    start: bool = Field(default=True, description="Whether the tasks begin by themselves.")
    cancel_tasks: bool = Field(
        default=False, description="Whether tasks of an earlier version may be cancelled for it."
    )


async def _list(call: PersonCall, given: ListPlans) -> str:
    repository_id = read_id(given.repository_id, "repository") if given.repository_id else None
    status = PlanStatus(given.status) if given.status else None
    wanted = PlanFilter(repository_id=repository_id, status=status)
    async with call.state.database.read() as read:
        found = await queries.list_plans(read, call.actor, given.page, wanted)
    return listed([plan_line(plan) for plan in found.items], found.next_cursor, "There are none.")


async def _get(call: PersonCall, given: GetPlan) -> str:
    async with call.state.database.read() as read:
        plan = await queries.get_plan(read, call.actor, read_id(given.plan, "plan"))
        parts = [plan_words(plan, await queries.get_content(read, plan))]
        try:
            parts.append(preview_words(await planning.get_preview(read, plan)))
        except StepsMissing:
            parts.append("It has no steps yet, so that it cannot be accepted.")
    return "\n\n".join([*parts, f"state: {plan.row_version}"])


async def _search(call: PersonCall, given: SearchPlans) -> str:
    repository_id = read_id(given.repository_id, "repository") if given.repository_id else None
    wanted = PlanSearchIn(contains=given.contains, repository_id=repository_id)
    async with call.state.database.read() as read:
        found = await queries.search_artifacts(read, call.actor, given.page, wanted)
        plans = await queries.list_plans_of(read, found.items)
    lines = [
        f"{plan_line(plans[row.plan_id])}: in its {row.artifact_type.value}" for row in found.items
    ]
    return listed(lines, found.next_cursor, "No plan holds that.")


async def _compare(call: PersonCall, given: ComparePlans) -> str:
    before, after = read_id(given.before, "plan"), read_id(given.after, "plan")
    async with call.state.database.read() as read:
        found = await diff_versions(read, call.actor, before, after)
    changed = [
        f"{step.key} ({', '.join(field.field for field in step.fields)})"
        for step in found.steps_changed
    ]
    parts = [
        ("steps added", found.steps_added),
        ("steps removed", found.steps_removed),
        ("steps changed", changed),
        ("steps moved", found.steps_moved),
        ("code changes of", found.files_changed),
    ]
    lines = [f"{name}: {', '.join(items)}" for name, items in parts if items]
    return "\n".join([*lines, found.text or "Nothing differs."])


async def _draft(call: PersonCall, given: DraftPlan) -> str:
    wanted = given.to_plan(read_id(given.repository_id, "repository"))
    async with call.state.database.transaction(call.actor) as tx:
        plan = await draft_plan(tx, call.actor, wanted, only_own=False)
        preview = await planning.get_preview(tx, plan)
        told = f"Drafted: {plan_line(plan)}\nstate: {plan.row_version}"
    return f"{told}\n\n{preview_words(preview)}"


async def _accept(call: PersonCall, given: AcceptPlan) -> str:
    how = PlanAcceptIn(run=TaskRun(runtime=given.runtime), start=given.start)
    async with call.state.database.transaction(call.actor) as tx:
        plan_id = read_id(given.plan, "plan")
        plan, repository = await queries.get_plan_for_change(tx, call.actor, plan_id)
        if plan.status is PlanStatus.DRAFT:  # a repeated acceptance finds the version moved on
            check_version(plan.row_version, given.state)
        outline = await service.accept_plan(
            tx, call.actor, plan, repository, how, may_cancel=given.cancel_tasks
        )
        lines = [task_line(task) for task in outline.tasks.values()]
        is_open = bool(outline.open_items)
    if is_open:
        lines.append(
            "Not all is done: tasks of an earlier version would be cancelled. get_plan shows "
            "which; with cancel_tasks true it is done."
        )
    return "\n".join([f"Accepted: {plan_line(outline.plan)}", *lines])


TOOLS = (
    PersonTool(name="list_plans", takes=ListPlans, scope="plans:read", do=_list, is_read_only=True),
    PersonTool(name="get_plan", takes=GetPlan, scope="plans:read", do=_get, is_read_only=True),
    PersonTool(
        name="search_plans", takes=SearchPlans, scope="plans:read", do=_search, is_read_only=True
    ),
    PersonTool(
        name="compare_plans",
        takes=ComparePlans,
        scope="plans:read",
        do=_compare,
        is_read_only=True,
        how_to_get_more="Read the versions with get_plan.",
    ),
    PersonTool(name="draft_plan", takes=DraftPlan, scope="plans:write", do=_draft),
    PersonTool(name="accept_plan", takes=AcceptPlan, scope="tasks:write", do=_accept),
)

"""People's assistants show changes, and pass on what was decided about them."""

from typing import Literal

from pydantic import Field

from agentvine.domains.modifications import queries, requests, service, trial_merges
from agentvine.domains.modifications.applying import ChangeApplier
from agentvine.domains.modifications.comparing import impact_of
from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.modifications.foreseeing import ImpactDesk, place_of
from agentvine.domains.modifications.models import Modification
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, read_id, titled
from agentvine.protocol.impact import ForeseenImpact, Reach
from agentvine.protocol.modifications import ForeseenConflictOut, ModificationRequestIn
from agentvine.protocol.tasks import TaskRun

_DIFF_CHARACTERS = 15_000
_MAX_FILES = 50


class ListChanges(Paged):
    """List changes that agents have made, newest first; by default those that wait for approval."""

    status: Literal["pending", "approved", "applied", "rejected", "failed", "reverted", ""] = Field(
        default="pending", description="pending: waits for approval; empty: all."
    )


class RequestChange(ToolInput):
    """Ask for a change in words, and learn what it will probably touch, and how risky that is.

    Nothing runs before it is approved with decide_change; then it becomes a task for an agent.
    """

    request: str = Field(
        min_length=1, max_length=50_000, description="What is wanted, in the code's own words."
    )
    repository_id: str = Field(min_length=1, max_length=40, description="See list_repositories.")
    definition_of_done: str = Field(default="", max_length=10_000)
    runtime: str = Field(
        default="command", max_length=50, description="What carries it out, such as claude-code."
    )
    command: str = Field(
        default="", max_length=10_000, description="For the runtime command, what to run."
    )


class GetChange(ToolInput):
    """Read a change: files, what its tests said, conflicts ahead, and its diff, part by part."""

    change_id: str = Field(min_length=1, max_length=40, description="See list_changes.")
    offset: int = Field(default=0, ge=0, description="Where in the diff to begin.")


class ShowImpact(ToolInput):
    """Tell what a change was foreseen to touch, what it has touched, and how risky that is.

    Use it before decide_change: what was not foreseen is what a person should look at.
    """

    change_id: str = Field(min_length=1, max_length=40, description="See list_changes.")


class DecideChange(ToolInput):
    """Approve a change, which merges it into its target branch, or reject it.

    A change that is only asked for yet becomes a task when it is approved, and the agent begins.

    This is the person's decision: do it only when they have said so, for this very change.
    """

    change_id: str = Field(min_length=1, max_length=40)
    decision: Literal["approve", "reject"]
    reason: str = Field(default="", max_length=5000, description="Kept with the change.")


async def _list(call: PersonCall, given: ListChanges) -> str:
    statuses = [ModificationStatus(given.status)] if given.status else []
    async with call.state.database.read() as read:
        found = await queries.list_modifications(read, call.actor, given.page, statuses=statuses)
        lines = [_line(row) for row in found.items]
    return listed(lines, found.next_cursor, "There are none.")


async def _request(call: PersonCall, given: RequestChange) -> str:
    wanted = ModificationRequestIn(
        request=given.request,
        repository_id=read_id(given.repository_id, "repository"),
        definition_of_done=given.definition_of_done or None,
        run=TaskRun(runtime=given.runtime, command=given.command or None),
    )
    foreseen = await call.state.effect(ImpactDesk).foresee(call.actor, wanted)
    async with call.state.database.transaction(call.actor) as tx:
        repository = await place_of(tx, call.actor, wanted)
        made = await requests.request_modification(tx, call.actor, repository, wanted, foreseen)
        line = _line(made)
    return "\n".join([line, *_foreseen(foreseen)])


async def _impact(call: PersonCall, given: ShowImpact) -> str:
    change_id = read_id(given.change_id, "change")
    async with call.state.database.read() as read:
        change = await queries.get_modification(read, call.actor, change_id)
        found, line = impact_of(change), _line(change)
    lines = [line]
    if found.foreseen:
        lines += ["foreseen", *_foreseen(found.foreseen)]
    if found.real:
        lines += ["real", *titled("files changed", found.real.files)]
        lines += _reach(found.real.reach) if found.real.reach else []
        lines += found.real.notes
    if found.comparison:
        lines += titled("changed, but not foreseen", found.comparison.surprise)
        lines += titled("foreseen, but not changed", found.comparison.missed)
    return "\n".join(lines if lines[1:] else [line, "Nothing is known of its impact."])


async def _get(call: PersonCall, given: GetChange) -> str:
    change_id = read_id(given.change_id, "change")
    async with call.state.database.read() as read:
        found = await queries.get_modification(read, call.actor, change_id)
        conflicts = await trial_merges.list_conflicts_of(read, found)
        diff = found.diff or ""
        part = diff[given.offset : given.offset + _DIFF_CHARACTERS]
        left = len(diff) - given.offset - len(part)
        tests = {None: "not run", True: "passed", False: "failed"}[found.tests_passed]
        files = found.affected_files[:_MAX_FILES]
        lines = [
            _line(found),
            f"from {found.base_commit} to {found.head_commit}, for {found.target_branch}",
            f"tests: {tests}",
            f"files: {', '.join(files)}"
            + (f" and {len(found.affected_files) - len(files)} more" if len(files) else ""),
            *titled("will conflict with", [_conflict(each, found) for each in conflicts]),
            f"diff from character {given.offset}:\n{part}",
        ]
        if left > 0:
            lines.append(f"[{left} more characters: call again with offset {len(diff) - left}]")
    return "\n".join(lines)


async def _decide(call: PersonCall, given: DecideChange) -> str:
    change_id = read_id(given.change_id, "change")
    applier, database = call.state.effect(ChangeApplier), call.state.database
    is_approved = given.decision == "approve"
    if is_approved:
        async with database.read() as read:
            unseen = await queries.get_modification_to_decide(read, call.actor, change_id)
        await applier.look(unseen)
    async with database.transaction(call.actor) as tx:
        found = await queries.get_modification_for_change(tx, call.actor, change_id)
        is_to_apply = False
        if is_approved:
            is_to_apply = await requests.approve(
                tx, call.actor, found, reason=given.reason, apply=True
            )
        else:
            service.reject(tx, found, reason=given.reason)
    if is_to_apply:
        await applier.apply(change_id)
    async with database.read() as read:
        return _line(await queries.get_modification(read, call.actor, change_id))


def _foreseen(foreseen: ForeseenImpact) -> list[str]:
    files = [f"{file.path}: {'; '.join(file.reasons)}" for file in foreseen.files]
    return [*_reach(foreseen.reach), *titled("likely files", files), *foreseen.notes]


def _reach(reach: Reach) -> list[str]:
    return [
        f"risk: {reach.risk.level}",
        *(f"- {reason}" for reason in reach.risk.reasons),
        *titled("public names that others use", reach.interfaces),
        *titled("migrations", reach.migrations),
        *titled("tests that reach them", reach.tests or ["none"]),
        f"files that depend on them: {sum(level.count for level in reach.dependants)}",
    ]


def _conflict(foreseen: ForeseenConflictOut, change: Modification) -> str:
    other = foreseen.other
    if other is not None and other.modification_id == change.id:
        other = foreseen.change
    who = f"{other.task_ref} {other.title!r}" if other else f"{foreseen.target_branch} as it is now"
    return f"{who} in {', '.join(foreseen.files[:_MAX_FILES])}"


def _line(change: Modification) -> str:
    stat = ", ".join(f"{name} {count}" for name, count in (change.diff_stat or {}).items())
    why = f" ({change.failure_message})" if change.failure_message else ""
    return f"[{change.status.value}{why}] {change.request} ({stat}) (id {change.id})"


TOOLS = (
    PersonTool(
        name="list_changes",
        takes=ListChanges,
        scope="modifications:read",
        do=_list,
        is_read_only=True,
    ),
    PersonTool(
        name="get_change", takes=GetChange, scope="modifications:read", do=_get, is_read_only=True
    ),
    PersonTool(
        name="show_impact",
        takes=ShowImpact,
        scope="modifications:read",
        do=_impact,
        is_read_only=True,
    ),
    PersonTool(
        name="request_change", takes=RequestChange, scope="modifications:write", do=_request
    ),
    PersonTool(name="decide_change", takes=DecideChange, scope="modifications:write", do=_decide),
)

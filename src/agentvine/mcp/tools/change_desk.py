"""People's assistants show changes, and pass on what was decided about them."""

from typing import Literal

from pydantic import Field

from agentvine.domains.modifications import queries, service
from agentvine.domains.modifications.applying import ChangeApplier
from agentvine.domains.modifications.enums import ModificationStatus
from agentvine.domains.modifications.models import Modification
from agentvine.mcp.calls import PersonCall
from agentvine.mcp.table import PersonTool
from agentvine.mcp.words import Paged, ToolInput, listed, read_id

_DIFF_CHARACTERS = 15_000
_MAX_FILES = 50


class ListChanges(Paged):
    """List changes that agents have made, newest first; by default those that wait for approval."""

    status: Literal["pending", "approved", "applied", "rejected", "failed", "reverted", ""] = Field(
        default="pending", description="pending: waits for approval; empty: all."
    )


class GetChange(ToolInput):
    """Read a change: its files, what its tests said, and its diff, part by part."""

    change_id: str = Field(min_length=1, max_length=40, description="See list_changes.")
    offset: int = Field(default=0, ge=0, description="Where in the diff to begin.")


class DecideChange(ToolInput):
    """Approve a change, which merges it into its target branch, or reject it.

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


async def _get(call: PersonCall, given: GetChange) -> str:
    change_id = read_id(given.change_id, "change")
    async with call.state.database.read() as read:
        found = await queries.get_modification(read, call.actor, change_id)
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
        if is_approved:
            service.approve(tx, found, reason=given.reason, apply=True)
        else:
            service.reject(tx, found, reason=given.reason)
    if is_approved:
        await applier.apply(change_id)
    async with database.read() as read:
        return _line(await queries.get_modification(read, call.actor, change_id))


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
    PersonTool(name="decide_change", takes=DecideChange, scope="modifications:write", do=_decide),
)

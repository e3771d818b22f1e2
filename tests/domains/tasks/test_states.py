"""Where a task may go from where it stands: every pair, allowed or refused."""

import ast
import itertools
from pathlib import Path

import pytest

import agentvine
from agentvine.db.session import Database
from agentvine.domains.tasks import queries
from agentvine.domains.tasks.enums import TaskStatus
from agentvine.domains.tasks.errors import InvalidTransition
from agentvine.domains.tasks.states import FINAL, is_final, set_status
from tests.support.builders.projects import make_ground
from tests.support.builders.tasks import make_task

pytestmark = pytest.mark.asyncio(loop_scope="module")

S = TaskStatus
# Written out once more: a change of the table must be meant.
WAYS = {
    S.PENDING: "blocked queued cancelled",
    S.BLOCKED: "pending queued cancelled",
    S.QUEUED: "pending blocked in_progress failed cancelled",
    S.IN_PROGRESS: "testing review completed queued blocked failed cancelled",
    S.TESTING: "in_progress review completed queued blocked failed cancelled",
    S.REVIEW: "completed failed cancelled pending",
    S.COMPLETED: "",
    S.FAILED: "pending",
    S.CANCELLED: "pending",
}


async def test_every_pair_of_states_is_allowed_or_refused_as_written(shared_database: Database):
    ground = await make_ground(shared_database)
    async with ground.transaction() as tx:
        made = await make_task(tx, ground.owner, ground.repository, start=False)
        task = await queries.lock_task(tx, made.id)
        for origin, to in itertools.permutations(S, 2):
            task.status = origin
            task.completed_at = None
            if to.value in WAYS[origin].split():
                set_status(tx, task, to, reason="because")
                assert (task.status, task.status_reason) == (to, "because")
                assert (task.completed_at == tx.now) is (to in FINAL)
            else:
                with pytest.raises(InvalidTransition) as refused:
                    set_status(tx, task, to)
                assert task.status is origin
                assert refused.value.extra["allowed"] == sorted(WAYS[origin].split())
        task.status = S.PENDING


async def test_staying_where_one_is_changes_the_reason_alone(shared_database: Database):
    ground = await make_ground(shared_database)
    async with ground.transaction() as tx:
        task = await make_task(tx, ground.owner, ground.repository, start=False)
        set_status(tx, task, S.PENDING, reason="another")
        assert (task.status, task.status_reason) == (S.PENDING, "another")


async def test_the_first_start_is_kept(shared_database: Database):
    ground = await make_ground(shared_database)
    async with ground.transaction() as tx:
        task = await make_task(tx, ground.owner, ground.repository)
        set_status(tx, task, S.IN_PROGRESS)
        first = task.started_at
        assert first == tx.now
    async with ground.transaction() as tx:
        task = await queries.lock_task(tx, task.id)
        set_status(tx, task, S.QUEUED)
        set_status(tx, task, S.IN_PROGRESS)
        assert task.started_at == first


async def test_completed_failed_and_cancelled_are_the_ends():
    assert {status for status in S if is_final(status)} == {S.COMPLETED, S.FAILED, S.CANCELLED}


async def test_set_status_is_the_only_door():
    """No other line of ours assigns a task's or a change's status."""
    root = Path(agentvine.__file__).parent
    doors = {"tasks/states.py", "modifications/states.py"}
    found = [
        f"{path.relative_to(root)}:{node.lineno}"
        for path in (root / "domains").rglob("*.py")
        if "/".join(path.parts[-2:]) not in doors
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Attribute)
        and target.attr == "status"
        and isinstance(target.value, ast.Name)
        and target.value.id in {"task", "modification", "other", "current", "found"}
    ]
    assert found == []

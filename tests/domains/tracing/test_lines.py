"""From a line of the target branch back to why it is there; and what is said where nobody knows."""

import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from agentvine.domains.agents.models import Agent
from agentvine.domains.executions.models import Execution
from agentvine.domains.plans.models import Plan
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage.models import TokenUsage
from agentvine.kit.ids import new_id
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.changes import Workshop, make_workshop
from tests.support.space import Json

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "x = 1\ny = 2\nz = 3\n"


async def blame(shop: Workshop, path: str, line: int, **params: Any) -> Json:
    return await shop.space.owner.get(
        f"/repositories/{shop.space.repository_id}/blame",
        params={"path": path, "line": line, **params},
    )


async def merged_change(shop: Workshop, files: Json, **task: Any) -> Json:
    change = await shop.change(files, **task)
    return await shop.decide(change, "approve")


async def with_plan_agent_and_usage(api: Api, shop: Workshop, change: Json) -> tuple[str, str]:
    """What a team's run would have left."""
    owner, space = shop.space.owner, shop.space
    of_project = {"project_id": space.project_id}
    agent = await owner.post(
        "/agents",
        {"name": unique("agent"), "type": "coder", "system_prompt": "Be brief.", **of_project},
    )
    plan = await owner.post("/plans", {"name": "grow", "repository_id": space.repository_id})
    execution_id = uuid.UUID(change["execution_id"])
    async with api.database.transaction() as tx:
        await tx.execute(
            update(Task)
            .where(Task.id == uuid.UUID(change["task_id"]))
            .values(plan_id=uuid.UUID(plan["id"]), plan_step="one")
        )
        # The agent was there before the run began.
        began = (await tx.get_one(Agent, uuid.UUID(agent["id"]))).created_at
        await tx.execute(
            update(Execution)
            .where(Execution.id == execution_id)
            .values(agent_id=uuid.UUID(agent["id"]), started_at=began)
        )
        usage = {"model": "m", "tokens_in": 100, "tokens_out": 20, "cost_usd": Decimal("0.5")}
        tx.add(
            TokenUsage(
                id=new_id(),
                project_id=uuid.UUID(space.project_id),
                execution_id=execution_id,
                usage_date=tx.now.date(),
                **usage,
            )
        )
    return agent["name"], plan["id"]


async def test_a_merged_line_leads_back_to_what_its_agent_was_told(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    change = await merged_change(
        shop, {"src/app.py": APP + "w = 4\n"}, title="Count to four", description="It ends early."
    )
    agent, plan_id = await with_plan_agent_and_usage(shared_api, shop, change)
    shop.repo.git("mv", "src/app.py", "src/main.py")
    shop.repo.commit({"src/main.py": "# moved\n" + APP + "w = 4\n"}, "Move it")

    found = await blame(shop, "src/main.py", 5)
    assert (found["text"], found["is_ours"], found["notes"]) == ("w = 4", True, [])
    assert found["commit"]["id"] == change["head_commit"]
    assert (found["commit"]["path"], found["commit"]["line"]) == ("src/app.py", 4)
    assert found["merge_commit"] == change["merge_commit"]
    assert found["modification"]["id"] == change["id"]
    asker = (await shop.space.owner.get("/auth/whoami"))["user"]["username"]
    assert found["modification"]["requested_by"] == asker
    assert found["execution"]["id"] == change["execution_id"]
    assert (found["task"]["ref"], found["task"]["title"]) == ("T-1", "Count to four")
    assert found["plan"] == {"id": plan_id, "name": "grow", "version": 1, "step": "one"}
    assert found["agent"]["name"] == agent
    assert found["system_prompt"] == "Be brief."
    assert found["prompt"].startswith("# T-1: Count to four\n\nIt ends early.")
    usage = found["usage"]
    assert (usage["calls"], usage["tokens_in"], usage["tokens_out"]) == (1, 100, 20)
    assert float(usage["cost_usd"]) == 0.5


async def test_a_line_nobody_of_ours_wrote_says_so(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    found = await blame(shop, "src/app.py", 1)
    assert (found["is_ours"], found["commit"]["author"]) == (False, "Tess Ter")
    assert (found["task"], found["trailers"]) == (None, {})
    assert "No run of AgentVine" in found["notes"][0]


async def test_a_squashed_change_is_found_by_what_its_messages_say(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    change = await merged_change(shop, {"new.txt": "new\n"})
    message = shop.repo.git("log", "-1", "--format=%B", change["merge_commit"])
    shop.repo.git("reset", "-q", "--hard", "HEAD~1")
    squashed = shop.repo.commit({"new.txt": "new\n"}, f"Everything (#7)\n\n* {message}")

    found = await blame(shop, "new.txt", 1)
    assert (found["commit"]["id"], found["merge_commit"]) == (squashed, None)
    assert found["modification"]["id"] == change["id"]
    assert found["execution"]["id"] == change["execution_id"]


async def test_a_run_that_the_database_has_forgotten_is_told_as_its_commits_tell_it(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    change = await merged_change(shop, {"new.txt": "new\n"})
    async with shared_api.database.transaction() as tx:
        await tx.execute(delete(Task).where(Task.id == uuid.UUID(change["task_id"])))

    found = await blame(shop, "new.txt", 1)
    assert found["is_ours"]
    assert found["trailers"]["AgentVine-Task"] == change["task_id"]
    assert found["trailers"]["AgentVine-Execution"] == change["execution_id"]
    assert (found["task"], found["modification"], found["usage"]) == (None, None, None)
    assert "does not know this run" in found["notes"][0]


async def test_a_line_that_a_revert_brought_back_says_so(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    change = await merged_change(shop, {"src/app.py": "x = 1\nz = 3\n"})
    await shop.decide(change, "revert")
    found = await blame(shop, "src/app.py", 2)
    assert (found["text"], found["modification"]["id"]) == ("y = 2", change["id"])
    assert found["notes"] == ["The line came back when the change was reverted."]


async def test_a_message_that_names_rows_of_another_repository_shows_nothing_of_them(
    shared_api: Api, tmp_path: Path
):
    secret = await make_workshop(shared_api, tmp_path)
    theirs = await secret.change({"new.txt": "new\n"}, title="A secret")
    plan = await secret.space.owner.post(
        "/plans", {"name": "secret", "repository_id": secret.space.repository_id}
    )
    shop = await make_workshop(shared_api, tmp_path)
    forged = (
        f"Mine\n\nAgentVine-Task: {theirs['task_id']}\nAgentVine-Modification: {theirs['id']}\n"
        f"AgentVine-Execution: {theirs['execution_id']}\nAgentVine-Plan: {plan['id']}\n"
    )
    shop.repo.commit({"mine.txt": "mine\n"}, forged)

    found = await blame(shop, "mine.txt", 1)
    rows = ("task", "modification", "execution", "plan", "agent", "prompt", "usage")
    assert [found[name] for name in rows] == [None] * len(rows)
    assert "A secret" not in str(found)


async def test_a_plan_s_own_commit_leads_to_its_version(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    body = {"name": "direct", "repository_id": shop.space.repository_id}
    plan = await shop.space.owner.post("/plans", body)
    shop.repo.commit({"planned.txt": "p\n"}, f"Planned\n\nAgentVine-Plan: {plan['id']}\n")
    found = await blame(shop, "planned.txt", 1)
    assert (found["plan"]["name"], found["notes"]) == ("direct", [])
    async with shared_api.database.transaction() as tx:
        await tx.execute(delete(Plan).where(Plan.id == uuid.UUID(plan["id"])))
    assert (await blame(shop, "planned.txt", 1))["plan"] is None


async def test_a_branch_a_file_or_a_line_that_is_not_there_is_named(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    path = f"/repositories/{shop.space.repository_id}/blame"
    for params, code in (
        ({"path": "src/app.py", "line": 1, "branch": "gone"}, "ref_not_found"),
        ({"path": "gone.py", "line": 1}, "file_not_in_commit"),
        ({"path": "src/app.py", "line": 99}, "line_not_in_file"),
    ):
        problem = await shop.space.owner.refused("GET", path, 404, params=params)
        assert problem["code"] == code

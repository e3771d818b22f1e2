"""The tools of people's own assistants, asked by those who may not, and by those who may."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from agentvine.config.settings import DatabaseSettings
from agentvine.mcp.tools import TOOLBOX
from tests.support.api import Api, Caller, running_api
from tests.support.builders.identity import unique
from tests.support.repositories import make_repo
from tests.support.scene import People, Scene, make_people, make_scene
from tests.support.tools import Tools, using_tools

pytestmark = pytest.mark.asyncio(loop_scope="module")

OF_A_ROW: dict[str, dict[str, Any]] = {
    "get_task": {"task": "{task_id}"},
    "create_task": {
        "title": "{unique}",
        "description": "Do it.",
        "repository_id": "{repository_id}",
        "start": False,
    },
    "control_task": {"task": "{third_id}", "action": "cancel"},
    "answer_question": {"question_id": "{question_id}", "text": "Blanks."},
    "get_change": {"change_id": "{modification_id}"},
    "decide_change": {"change_id": "{modification_id}", "decision": "reject"},
    "show_impact": {"change_id": "{modification_id}"},
    "request_change": {
        "request": "Add z to the app",
        "repository_id": "{repository_id}",
        "command": "true",
    },
    "explain_line": {"repository_id": "{repository_id}", "path": "src/app.py", "line": 1},
    "show_template": {"template": "{template_id}"},
    "render_template": {"template": "{template_id}"},
    "get_plan": {"plan": "{plan_id}"},
    "compare_plans": {"before": "{plan_id}", "after": "{plan_id}"},
    "draft_plan": {
        "repository_id": "{repository_id}",
        "name": "{unique}",
        "goal": "Grow.",
        "steps": [{"key": "one", "title": "Grow"}],
    },
    "accept_plan": {"plan": "{plan_id}", "state": 1, "start": False},
    "read_document": {"document": "{document_id}"},
    "list_document_versions": {"document": "{document_id}"},
    "compare_document_versions": {"document": "{document_id}", "before": 1},
    "write_document": {"title": "{unique}", "content": "Text.", "project_id": "{project_id}"},
    "show_agent": {"agent": "{agent_id}"},
    "list_agent_revisions": {"agent": "{agent_id}"},
    "recall_memory": {"agent": "{agent_id}"},
    "write_memory": {"agent": "{agent_id}", "category": "a", "key": "b", "text": "c"},
    "start_team_run": {"goal": "Grow.", "repository_id": "{repository_id}"},
    "show_team_run": {"team_run_id": "{run_id}"},
    "approve_team_run": {"team_run_id": "{run_id}"},
    "cancel_team_run": {"team_run_id": "{run_id}"},
    "read_conversation": {"conversation": "{conversation_id}"},
    "read_attachment": {
        "conversation": "{conversation_id}",
        "attachment": "{attachment_id}",
    },
    "start_conversation": {"title": "{unique}", "project_id": "{project_id}"},
    "post_message": {"conversation": "{conversation_id}", "text": "Hello."},
    "show_snapshot": {"snapshot": "{context_id}", "under": "a"},
    "read_snapshot_file": {"snapshot": "{context_id}", "path": "a.txt"},
    "compare_snapshots": {"before": "{context_id}", "after": "{context_id}"},
    "take_snapshot": {"repository_id": "{repository_id}"},
}
"""Tools about rows of a project, with input that is good."""
OF_ONES_OWN: dict[str, dict[str, Any]] = {
    "list_repositories": {},
    "list_tasks": {},
    "list_questions": {},
    "list_changes": {},
    "get_costs": {},
    "get_budgets": {},
    "list_plans": {},
    "list_team_runs": {},
    "search_plans": {"contains": {"goal": "Grow."}},
    "list_conversations": {"status": ""},
    "list_snapshots": {},
    "find_documents": {"query": "needle"},
    "list_documents": {},
    "list_agents": {},
    "list_templates": {},
}
"""Tools that show what one may see."""


@dataclass(frozen=True)
class Stage:
    api: Api
    people: People
    scene: Scene


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(
    shared_settings: DatabaseSettings, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stage]:
    async with running_api(shared_settings, tmp_path_factory.mktemp("data")) as api:
        people = await make_people(api)
        looked_into = str(make_repo(tmp_path_factory.mktemp("looked") / "into").path)
        yield Stage(api, people, await make_scene(api, people, path=looked_into))


def tools_of(stage: Stage, caller: Caller) -> Any:
    return using_tools(stage.api, caller.http.headers["authorization"].split()[1])


async def test_the_outsider_sees_nothing_and_the_viewer_changes_nothing(stage: Stage):
    assert set(TOOLBOX.for_people) == set(OF_A_ROW) | set(OF_ONES_OWN), (
        "each tool is in these tables"
    )
    async with tools_of(stage, stage.people.outsider) as tools:
        for name, given in OF_A_ROW.items():
            assert "not_found)" in await tools.refused(name, **stage.scene.fill(given)), name
        ids = [value for name, value in stage.scene.names.items() if name.endswith("_id")]
        for name, given in OF_ONES_OWN.items():
            told = await tools.use(name, **given)
            assert not any(value in told for value in ids), name
    async with tools_of(stage, stage.people.viewer) as tools:
        await _looks_only(tools, stage.scene, "(role_too_low)")
    async with tools_of(stage, stage.people.reader) as tools:
        await _looks_only(tools, stage.scene, "(project_read_only)")


async def _looks_only(tools: Tools, scene: Scene, code: str) -> None:
    for name, given in OF_A_ROW.items():
        if TOOLBOX.for_people[name].is_read_only:
            assert await tools.use(name, **scene.fill(given))
        else:
            assert code in await tools.refused(name, **scene.fill(given)), name


async def test_a_token_with_scopes_does_only_those(stage: Stage):
    body = {"name": unique("narrow"), "scopes": ["tasks:read"]}
    text = (await stage.people.owner.post("/tokens", body))["token"]
    async with using_tools(stage.api, text) as tools:
        assert await tools.use("list_tasks")
        for name, tool in TOOLBOX.for_people.items():
            if tool.scope != "tasks:read":
                given = stage.scene.fill((OF_A_ROW | OF_ONES_OWN)[name])
                assert "(scope_missing)" in await tools.refused(name, **given), name


async def test_the_owner_s_assistant_lists_creates_answers_decides_and_tells_costs(stage: Stage):
    scene = await make_scene(stage.api, stage.people)
    ids = scene.names
    async with tools_of(stage, stage.people.owner) as tools:
        assert ids["repository_id"] in await tools.use("list_repositories")
        made = await tools.use(
            "create_task",
            title="Mend the door",
            description="It squeaks.",
            repository_id=ids["repository_id"],
            start=False,
        )
        task_id = made.rpartition("(id ")[2].rstrip(")")
        assert "It squeaks." in await tools.use("get_task", task=task_id)
        assert "Several projects" in await tools.refused("get_task", task="T-1")
        assert "waits for somebody" in await tools.use("get_task", task=task_id)
        started = await tools.use("control_task", task=task_id, action="start")
        stopped = await tools.use("control_task", task=task_id, action="cancel", reason="enough")
        assert "[queued]" in started
        assert "[cancelled (enough)]" in stopped
        listed = await tools.use("list_tasks", status=["cancelled"], project_id=ids["project_id"])
        line = rf"T-\d+ \[cancelled \(enough\)\] Mend the door \(id {task_id}\)"
        assert re.fullmatch(line, listed)

        assert "Tabs or blanks?" in await tools.use("list_questions")
        answer = {"question_id": ids["question_id"], "text": "Blanks."}
        told = await tools.use("answer_question", **answer)
        late = await tools.refused("answer_question", **answer | {"text": "Tabs."})
        assert f"{stage.people.owner.actor.username} answered: Blanks." in told
        assert "(question_settled)" in late

        change_id = ids["modification_id"]
        assert change_id in await tools.use("list_changes")
        assert "to 2222222" in await tools.use("get_change", change_id=change_id)
        decided = {"change_id": change_id, "decision": "reject", "reason": "Not this way."}
        assert "[rejected]" in await tools.use("decide_change", **decided)
        assert change_id not in await tools.use("list_changes")

        assert "1000 in" in await tools.use("get_costs", by="task", since="2020-01-01")
        assert "The input is not right" in await tools.refused("get_costs", since="yesterday")
        assert "$10.00" in await tools.use("get_budgets")

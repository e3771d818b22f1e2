"""Snapshots, templates, impact, agents and versions of plans, as an assistant shows them."""

import re
from pathlib import Path
from typing import Any

import pytest

from agentvine.domains.modifications.applying import ChangeApplier
from agentvine.domains.modifications.trial_merging import ForesightChore
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.changes import make_workshop
from tests.support.space import Space, make_space
from tests.support.tools import tool_key, using_tools

pytestmark = pytest.mark.asyncio(loop_scope="module")


def tools_of(space: Space) -> Any:
    return using_tools(space.api, space.owner.http.headers["authorization"].split()[1])


def id_in(line: str) -> str:
    return line.rpartition("(id ")[2].partition(")")[0]


async def test_two_snapshots_are_taken_looked_into_and_compared(shared_api: Api, tmp_path: Path):
    files: dict[str, str | bytes | None] = {
        "requirements.txt": "fastapi==0.165\n",
        "Dockerfile": "FROM python:3.14\n",
    }
    shop, other = [await make_workshop(shared_api, tmp_path, files) for _ in range(2)]
    repository = {"repository_id": shop.space.repository_id}
    async with tools_of(shop.space) as tools:
        first = await tools.use("take_snapshot", **repository, name="Before")
        shop.repo.commit({"requirements.txt": "fastapi==0.166\n", "docs/new.md": "New.\n"})
        second = await tools.use("take_snapshot", **repository)
        before, after = (id_in(each.splitlines()[1]) for each in (first, second))
        differ = await tools.use("compare_snapshots", before=before, after=after)
        same = await tools.use("compare_snapshots", before=after, after=after)
        shown = await tools.use("show_snapshot", snapshot=after, under="docs/")
        listed = await tools.use("list_snapshots", **repository, path="docs/new.md")
        was = await tools.use("read_snapshot_file", snapshot=before, path="requirements.txt")
        gone = await tools.refused("read_snapshot_file", snapshot=before, path="docs/new.md")
        nowhere = await tools.refused("take_snapshot", **repository, branch="nowhere")
    async with tools_of(other.space) as tools:
        foreign = await tools.refused("compare_snapshots", before=before, after=after)

    assert "- pypi:fastapi ==0.165 -> ==0.166" in differ
    assert "- added docs/new.md" in differ
    assert "Nothing differs." in same
    assert "dockerfile:\n- Dockerfile; images ['python:3.14']" in shown
    assert "- docs/new.md (file, 5 bytes)" in shown
    assert (after in listed, before in listed) == (True, False)
    assert was == "fastapi==0.165\n"
    assert "(content_not_kept)" in gone
    assert "(ref_not_found)" in nowhere
    assert "(context_not_found)" in foreign


async def test_a_template_is_filled_in_and_its_files_are_shown_once_they_fit(shared_api: Api):
    space = await make_space(shared_api)
    body = {
        "name": unique("service"),
        "category": "api",
        "project_id": space.project_id,
        "variables": [{"name": "title", "pattern": "[a-z]+"}],
        "files": {"{{ title }}.md": "# {{ title }}\n", "run.sh": "true\n"},
        "test_command": "sh run.sh",
    }
    small = (await space.owner.post("/templates", body))["id"]
    long = {"name": unique("long"), "files": {"long.md": "y" * 20_000 + " end"}, "variables": []}
    large = (await space.owner.post("/templates", body | long))["id"]
    async with tools_of(space) as tools:
        made = await tools.use("render_template", template=small, values={"title": "door"})
        missing = await tools.refused("render_template", template=small)
        wrong = await tools.refused("render_template", template=small, values={"title": "1"})
        listed = await tools.use("render_template", template=large)
        part = await tools.use("render_template", template=large, file="long.md", start=15_000)
        none = await tools.refused("render_template", template=large, file="short.md")

    assert "=== door.md\n# door\n" in made
    assert "tested by: sh run.sh" in made
    assert "(template_variable_missing)" in missing
    assert "(template_value_invalid)" in wrong
    assert "yyy" not in listed
    assert "long.md, 20004 characters" in listed
    assert part.endswith("y end")
    assert "(template_file_unknown)" in none


async def test_versions_of_a_document_are_listed_read_and_compared(shared_api: Api):
    space = await make_space(shared_api)
    new = {"title": "Leases", "type": "design", "tags": ["Queue", "core"]}
    async with tools_of(space) as tools:
        written = await tools.use(
            "write_document", **new, content="By one.\nBriefly.", project_id=space.project_id
        )
        document = {"document": id_in(written)}
        anew = {"title": "Leases", "content": "By two.\nBriefly."}
        await tools.use("write_document", **document, **anew, version=1)
        late = await tools.refused("write_document", **document, **anew, version=1)
        tagged = await tools.use("list_documents", project_id=space.project_id, tags=["queue"])
        others = await tools.use("list_documents", project_id=space.project_id, tags=["other"])
        found = await tools.use("find_documents", query="briefly", type="design", tags=["core"])
        none = await tools.use("find_documents", query="briefly", type="guide", tags=["core"])
        versions = await tools.use("list_document_versions", **document)
        first = await tools.use("read_document", **document, version=1)
        now = await tools.use("read_document", **document)
        differ = await tools.use("compare_document_versions", **document, before=1)
        same = await tools.use("compare_document_versions", **document, before=2)
        never = await tools.refused("read_document", **document, version=3)

    # The second text made no guide of the design, and took no tag away.
    known = f"Leases [design; core, queue] version 2 (id {document['document']})"
    assert tagged == known
    assert others == "There are none."
    assert document["document"] in found
    assert document["document"] not in none
    assert "(stale_version)" in late
    assert [line.partition(":")[0] for line in versions.splitlines()] == ["2", "1"]
    assert first == "# Leases (version 1)\n\nBy one.\nBriefly."
    assert now == "# Leases (version 2)\n\nBy two.\nBriefly."
    assert differ.splitlines()[3:] == ["-By one.", "+By two.", " Briefly."]
    assert same == "Nothing differs."
    assert "(document_version_not_found)" in never


async def test_tasks_wait_for_files_and_conflicts_ahead_are_shown(shared_api: Api, tmp_path: Path):
    shop = await make_workshop(shared_api, tmp_path)
    changes = [await shop.change({"src/app.py": f"x = {number}\n"}) for number in (5, 6)]
    chore = ForesightChore(shared_api.database, shared_api.state.effect(ChangeApplier).desk)
    while await chore.look():
        pass
    body = {"description": "Do it.", "repository_id": shop.space.repository_id}
    async with tools_of(shop.space) as tools:
        told = [await tools.use("get_change", change_id=each["id"]) for each in changes]
        held = await tools.use("create_task", title="One", **body, touches=["docs/", "src/app.py"])
        wrong = await tools.refused("create_task", title="Two", **body, touches=["../etc"])

    for text, other in zip(told, ("T-2", "T-1"), strict=True):
        assert re.search(rf"will conflict with:\n- {other} '.*' in src/app.py", text)
    assert "waits for files of T-1, whose change is in review (src/app.py)" in held
    assert "touches.0: " in wrong


async def test_the_impact_of_a_change_is_shown_as_foreseen_and_as_it_was(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    async with tools_of(shop.space) as tools:
        asked = await tools.use(
            "request_change",
            request="Let z of the app be 4",
            repository_id=shop.space.repository_id,
            command="true",
        )
        change_id = id_in(asked.splitlines()[0])
        foreseen = await tools.use("show_impact", change_id=change_id)
        made = await shop.change({"door.txt": "It does not squeak.\n"})
        real = await tools.use("show_impact", change_id=made["id"])

    assert "src/app.py" in asked
    assert foreseen.splitlines()[1:3] == ["foreseen", asked.splitlines()[1]]
    assert "files changed" not in foreseen
    assert "files changed:\n- door.txt" in real
    assert "foreseen" not in real


async def test_an_agent_is_shown_as_it_is_and_as_it_was(shared_api: Api):
    space = await make_space(shared_api)
    body = {
        "name": unique("coder"),
        "type": "coder",
        "project_id": space.project_id,
        "system_prompt": "Be brief.",
        "model_settings": {"model": "a-model", "max_turns": 3},
    }
    agent = await space.owner.post("/agents", body)
    change = {"system_prompt": "Be thorough.", "is_active": False}
    headers = {"If-Match": f'"{agent["revision"]}"'}
    path = f"/agents/{agent['id']}"
    changed = await space.owner.call("PATCH", path, json=change, headers=headers)
    assert changed.is_success, changed.text
    one = {"agent": agent["id"]}
    async with tools_of(space) as tools:
        now = await tools.use("show_agent", **one)
        then = await tools.use("show_agent", **one, revision=1)
        never = await tools.refused("show_agent", **one, revision=9)
        revisions = (await tools.use("list_agent_revisions", **one)).splitlines()

    assert "inactive" in now
    assert "Be thorough." in now
    assert "max_turns: 3" in now
    assert "Be brief." in then
    assert "(agent_revision_not_found)" in never
    assert [line.rpartition(": ")[2] for line in revisions] == [
        "system prompt, whether it is active",
        "set up",
    ]
    assert space.owner.actor.username in revisions[0]


async def test_versions_of_a_plan_are_compared_and_plans_are_found_by_what_they_hold(
    shared_api: Api,
):
    space = await make_space(shared_api)
    plan: dict[str, Any] = {
        "repository_id": space.repository_id,
        "name": unique("plan"),
        "goal": "Have doors.",
    }
    hinge = {"key": "hinge", "title": "Oil the hinge", "files": ["src/hinge.py"]}
    async with tools_of(space) as tools:
        first = await tools.use("draft_plan", **plan, steps=[hinge])
        before = id_in(first.splitlines()[0])
        state = int(first.splitlines()[1].removeprefix("state: "))
        await tools.use("accept_plan", plan=before, state=state, start=False)
        lock = {"key": "lock", "title": "Mend the lock", "type": "bugfix"}
        anew = await tools.use("draft_plan", **plan, steps=[hinge | {"title": "Grease it"}, lock])
        after = id_in(anew.splitlines()[0])
        differ = await tools.use("compare_plans", before=before, after=after)
        wanted = {"steps": [{"files": ["src/hinge.py"]}]}
        found = await tools.use("search_plans", contains=wanted)
        bugs = await tools.use("search_plans", contains={"steps": [{"type": "bugfix"}]})
        none = await tools.use("search_plans", contains={"steps": [{"type": "docs"}]})

    assert differ.startswith("steps added: lock\nsteps changed: hinge (title)\n")
    assert "Grease it" in differ
    assert (before in found, after in found) == (True, True)
    assert (before in bugs, after in bugs) == (False, True)
    assert none == "No plan holds that."


async def test_a_run_asks_why_a_line_of_its_own_repository_is_there(
    shared_api: Api, tmp_path: Path
):
    shop = await make_workshop(shared_api, tmp_path)
    await shop.space.task(run_runtime="claude-code")
    worker = await shop.space.worker(runtimes=["claude-code"])
    order = await worker.claim_one()
    async with using_tools(shared_api, await tool_key(worker.caller, order)) as tools:
        told = await tools.use("explain_line", path="src/app.py", line=2)
        nowhere = await tools.refused("explain_line", path="src/none.py", line=2)
        below = await tools.refused("explain_line", path="src/app.py", line=99)

    assert told.startswith("line: y = 2\ncommit ")
    assert "(file_not_in_commit)" in nowhere
    assert "(line_not_in_file)" in below

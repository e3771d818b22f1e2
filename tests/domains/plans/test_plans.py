"""Plans over HTTP: versions, what they hold, what is fixed, and how they differ."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from agentvine.domains.identity.models import AuditEvent
from agentvine.domains.plans.enums import ArtifactType, PlanStatus
from agentvine.domains.plans.models import Plan, PlanArtifact
from agentvine.kit.ids import new_id
from tests.support.api import Api
from tests.support.builders.identity import unique
from tests.support.builders.plans import Desk, feature, make_desk, step, steps

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def statuses(desk: Desk, plan: Any) -> dict[int, str]:
    rows = (await desk.owner.get(f"/plans/{plan['id']}/versions"))["items"]
    return {row["version"]: row["status"] for row in rows}


async def test_a_version_is_written_activated_revised_and_replaced(shared_api: Api):
    desk = await make_desk(shared_api)
    made = await desk.plan(feature(goal="Grow."), steps(step("one")))
    path = f"/plans/{made['id']}"
    await desk.owner.post(f"{path}/artifacts", feature(goal="Grow fast."))
    edited = await desk.owner.call("PATCH", path, json={"description": "d", "target_branch": "dev"})
    await desk.owner.post(f"{path}/activate")
    again = await desk.owner.post(f"{path}/activate")

    second = await desk.owner.post(f"{path}/revise")
    copied = await desk.owner.get(f"/plans/{second['id']}")
    before = await statuses(desk, made)
    await desk.owner.post(f"/plans/{second['id']}/activate")
    after = await statuses(desk, made)
    completed = await desk.owner.post(f"/plans/{second['id']}/complete")

    assert (made["version"], made["status"], made["target_branch"]) == (1, "draft", "main")
    assert (edited.json()["target_branch"], again["status"]) == ("dev", "active")
    assert (second["version"], second["status"], second["description"]) == (2, "draft", "d")
    assert [row["content"].get("goal") for row in copied["artifacts"]] == ["Grow fast.", None]
    assert copied["artifacts"][1]["content"]["steps"][0]["key"] == "one"
    assert (before, after) == ({1: "active", 2: "draft"}, {1: "archived", 2: "active"})
    assert completed["status"] == "completed"
    written = (await desk.owner.get(f"{path}/artifacts", params={"type": "feature_plan"}))["items"]
    assert [row["content"]["goal"] for row in written] == ["Grow fast.", "Grow."]
    assert {row["created_by"] for row in written} == {f"user:{desk.owner.actor.username}"}
    async with shared_api.database.read() as read:
        said = select(AuditEvent.action).where(AuditEvent.entity_id.in_([made["id"], second["id"]]))
        assert list(await read.scalars(said.order_by(AuditEvent.id))) == [
            "plan.created",
            "plan.artifact_written",
            "plan.edited",
            "plan.activated",
            "plan.revised",
            "plan.archived",
            "plan.activated",
            "plan.completed",
        ]


async def test_what_was_active_once_cannot_be_changed(shared_api: Api):
    desk = await make_desk(shared_api)
    made = await desk.plan(feature())
    path = f"/plans/{made['id']}"
    await desk.owner.post(f"{path}/activate")
    seen = await desk.owner.get(path)

    for method, place, body in (
        ("PATCH", path, {"description": "other"}),
        ("POST", f"{path}/artifacts", feature(goal="Other.")),
        ("DELETE", path, None),
    ):
        problem = await desk.owner.refused(method, place, 409, json=body)
        assert problem["code"] == "plan_fixed"
    await desk.owner.post(f"{path}/archive")
    back = await desk.owner.refused("POST", f"{path}/activate", 409)

    now = await desk.owner.get(path)
    assert (now["artifacts"], now["text"]) == (seen["artifacts"], seen["text"])
    assert back["code"] == "plan_transition_invalid"


async def test_a_name_is_taken_once_and_a_draft_can_be_forgotten(shared_api: Api):
    desk = await make_desk(shared_api)
    made = await desk.plan(feature())
    body = {"repository_id": desk.repository_id, "name": made["name"]}

    taken = await desk.owner.refused("POST", "/plans", 409, json=body)
    await desk.owner.call("DELETE", f"/plans/{made['id']}")
    again = await desk.owner.post("/plans", body)

    assert (taken["code"], again["version"], again["artifacts"]) == ("plan_exists", 1, [])
    await desk.owner.refused("GET", f"/plans/{made['id']}", 404)


async def test_the_database_itself_has_one_active_version_of_a_name(shared_api: Api):
    desk = await make_desk(shared_api)
    made = await desk.plan()
    await desk.owner.post(f"/plans/{made['id']}/activate")
    row = {
        "id": new_id(),
        "repository_id": UUID(desk.repository_id),
        "name": made["name"],
        "version": 2,
        "target_branch": "main",
        "status": PlanStatus.ACTIVE,
    }

    with pytest.raises(IntegrityError):
        async with shared_api.database.transaction() as tx:
            await tx.execute(insert(Plan).values(row))


async def test_versions_made_and_activated_at_once_get_their_own_numbers_and_one_counts(
    shared_api: Api,
):
    desk = await make_desk(shared_api)
    made = await desk.plan(steps(step("one")))

    path = f"/plans/{made['id']}/revise"
    copies = await asyncio.gather(*(desk.owner.post(path) for _ in range(5)))
    await asyncio.gather(*(desk.owner.call("POST", f"/plans/{x['id']}/activate") for x in copies))

    assert sorted(copy["version"] for copy in copies) == [2, 3, 4, 5, 6]
    assert list((await statuses(desk, made)).values()).count("active") == 1


async def test_a_change_decided_on_an_older_draft_is_refused(shared_api: Api):
    desk = await make_desk(shared_api)
    made = await desk.plan(feature())
    path, seen = f"/plans/{made['id']}", {"If-Match": f'"{made["row_version"]}"'}
    await desk.owner.post(f"{path}/artifacts", feature(goal="First."))

    for method, place, body in (
        ("PATCH", path, {"description": "late"}),
        ("POST", f"{path}/artifacts", feature(goal="Late.")),
        ("POST", f"{path}/activate", None),
    ):
        late = await desk.owner.refused(method, place, 409, json=body, headers=seen)
        assert late["code"] == "stale_version"


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (steps(step("a", depends_on=["b"])), "which is no step"),
        (steps(step("a"), step("a")), "there twice"),
        (steps(step("a", depends_on=["b"]), step("b", depends_on=["a"])), "wait for each other"),
        (steps(step("a", depends_on=["a"])), "wait for each other"),
        (steps(step("A b")), "pattern"),
        (steps(step("a", files=["../x"])), "without . and .."),
        (steps(step("a", colour="red")), "Extra inputs"),
        (steps(), "at least 1 item"),
        (feature(goal=""), "at least 1 character"),
        ({"artifact_type": "poem", "content": {}}, "does not match any of the expected tags"),
    ],
)
async def test_what_a_plan_holds_is_checked(shared_api: Api, part: Any, reason: str):
    desk = await make_desk(shared_api)
    body = {"repository_id": desk.repository_id, "name": unique("plan"), "artifacts": [part]}

    problem = await desk.owner.refused("POST", "/plans", 422, json=body)

    assert reason in str(problem["errors"])


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "./a",
        "C:/x",
        "a\\b",
        ".git/config",
        "a/.GIT/x",
        "x/.git. /hooks",
        "git~1/config",
        "a\nb",
    ],
)
async def test_no_change_reaches_outside_the_repository_or_into_its_git(shared_api: Api, path: str):
    desk = await make_desk(shared_api)
    change = {"path": path, "operation": "create", "content": "x"}
    part = {"artifact_type": "code_changes", "content": {"changes": [change]}}
    body = {"repository_id": desk.repository_id, "name": unique("plan"), "artifacts": [part]}

    problem = await desk.owner.refused("POST", "/plans", 422, json=body)

    assert "path" in str(problem["errors"])


async def test_versions_are_compared_as_text_and_step_by_step(shared_api: Api):
    desk = await make_desk(shared_api)
    made = await desk.plan(
        feature(goal="Grow.", scope=["roots"]),
        steps(step("a"), step("b", title="Water"), step("c"), step("d")),
    )
    second = await desk.owner.post(f"/plans/{made['id']}/revise")
    for part in (
        feature(goal="Grow.", scope=["roots", "leaves"]),
        steps(step("d"), step("a"), step("b", title="Water daily", type="test"), step("e")),
    ):
        await desk.owner.post(f"/plans/{second['id']}/artifacts", part)

    found = await desk.owner.get(f"/plans/{made['id']}/diff/{second['id']}")
    same = await desk.owner.get(f"/plans/{made['id']}/diff/{made['id']}")
    other = await desk.plan()
    problem = await desk.owner.refused("GET", f"/plans/{made['id']}/diff/{other['id']}", 422)

    assert (found["before"]["version"], found["after"]["version"]) == (1, 2)
    assert (found["steps_added"], found["steps_removed"]) == (["e"], ["c"])
    assert found["steps_moved"] == ["d"]
    [changed] = found["steps_changed"]
    assert changed["key"] == "b"
    assert {row["field"]: (row["before"], row["after"]) for row in changed["fields"]} == {
        "title": ("Water", "Water daily"),
        "type": ("feature", "test"),
    }
    assert [(row["field"], row["after"]) for row in found["fields"]] == [
        ("scope", ["roots", "leaves"])
    ]
    assert "-## b: Water\n+## b: Water daily" in found["text"]
    assert (same["text"], same["steps_changed"], same["fields"]) == ("", [], [])
    assert problem["code"] == "plans_unrelated"


async def test_what_raw_sql_wrote_is_told_and_can_be_written_anew(shared_api: Api):
    desk = await make_desk(shared_api)
    made = await desk.plan()
    path = f"/plans/{made['id']}"
    row = {"id": new_id(), "plan_id": UUID(made["id"]), "content": {"steps": "none"}}
    async with shared_api.database.transaction() as tx:
        kind = ArtifactType.IMPLEMENTATION_STEPS
        await tx.execute(insert(PlanArtifact).values(row | {"artifact_type": kind}))

    problem = await desk.owner.refused("GET", path, 409)
    await desk.owner.post(f"{path}/artifacts", steps(step("one")))

    assert problem["code"] == "plan_artifact_unreadable"
    assert "## one:" in (await desk.owner.get(path))["text"]


async def test_nothing_is_planned_in_an_archived_project(shared_api: Api):
    desk = await make_desk(shared_api)
    made = await desk.plan()
    await desk.owner.call("PATCH", f"/projects/{desk.project_id}", json={"is_active": False})

    body = {"repository_id": desk.repository_id, "name": unique("plan")}
    for place, sent in (("/plans", body), (f"/plans/{made['id']}/activate", None)):
        problem = await desk.owner.refused("POST", place, 409, json=sent)
        assert problem["code"] == "project_archived"

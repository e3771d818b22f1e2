"""Audit rows: in the command's own transaction, with before and after, and without secrets."""

import json
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from agentvine.db.session import Database
from agentvine.domains.identity import service
from agentvine.domains.identity.enums import UserRole
from agentvine.domains.identity.models import AuditEvent, Event
from agentvine.domains.identity.passwords import make_password
from tests.support.api import Api
from tests.support.builders.identity import FEW_ROUNDS, PASSWORD, make_user, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def audit_of(database: Database, entity_id: Any) -> list[AuditEvent]:
    async with database.read() as read:
        rows = await read.scalars(
            select(AuditEvent).where(AuditEvent.entity_id == str(entity_id)).order_by(AuditEvent.id)
        )
        return list(rows)


async def test_who_changed_what_from_what_to_what_is_kept_under_the_requests_id(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    name = unique("new")
    user = (await admin.post("/users", {"username": name, "email": f"{name}@b.org"}))["user"]
    answer = await admin.call(
        "PATCH",
        f"/users/{user['id']}",
        json={"role": "viewer", "email": f"{name}@c.org"},
        headers={"X-Request-ID": "req-for-the-audit"},
    )
    assert answer.status_code == 200

    created, edited = await audit_of(shared_api.database, user["id"])
    assert (created.action, created.before) == ("user.created", None)
    assert created.after == {"username": name, "role": "developer"}
    assert (edited.action, edited.entity_type) == ("user.edited", "user")
    assert edited.before == {"role": "developer", "email": f"{name}@b.org"}
    assert edited.after == {"role": "viewer", "email": f"{name}@c.org"}
    assert edited.actor_id == admin.actor.actor_id
    assert edited.actor_label == admin.actor.label
    assert edited.request_id == "req-for-the-audit"


async def test_an_event_for_live_pages_goes_with_it(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    project = await owner.post("/projects", {"name": unique("p")})
    async with shared_api.database.read() as read:
        event = (await read.scalars(select(Event).where(Event.entity_id == project["id"]))).one()
    assert (event.type, str(event.project_id)) == ("project.created", project["id"])
    assert event.payload == {"name": project["name"]}


async def test_what_is_rolled_back_leaves_no_trace_in_it(shared_api: Api):
    class Boom(Exception):
        pass

    async def create_and_fail() -> Any:
        async with shared_api.database.transaction() as tx:
            user = await make_user(tx)
            made.append(user.id)
            raise Boom

    made: list[Any] = []
    with pytest.raises(Boom):
        await create_and_fail()
    assert await audit_of(shared_api.database, made[0]) == []


async def test_a_refused_command_leaves_no_trace_in_it(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    project = await owner.post("/projects", {"name": unique("p")})
    before = len(await audit_of(shared_api.database, project["id"]))
    await owner.refused(
        "PATCH",
        f"/projects/{project['id']}",
        409,
        json={"name": "late"},
        headers={"If-Match": '"99"'},
    )
    assert len(await audit_of(shared_api.database, project["id"])) == before


async def test_it_can_be_added_to_but_not_changed(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    rows = await audit_of(shared_api.database, owner.actor.user_id)

    async def change(row: AuditEvent) -> None:
        async with shared_api.database.transaction() as tx:
            (await tx.get_one(AuditEvent, row.id)).action = "nothing.happened"

    async def delete(row: AuditEvent) -> None:
        async with shared_api.database.transaction() as tx:
            await tx.delete(await tx.get_one(AuditEvent, row.id))

    for attempt in (change, delete):
        with pytest.raises(IntegrityError, match="append-only"):
            await attempt(rows[0])


async def test_no_secret_is_in_it(shared_api: Api):
    """All that has a password or token in it, done once; then every row is searched for them."""
    given, new = "the given password", "the new password"
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    name = unique("secretive")
    body = {"username": name, "email": f"{name}@b.org", "password": given}
    user = (await admin.post("/users", body))["user"]
    generated = (
        await admin.post(
            "/users", body | {"username": unique("x"), "email": f"2{name}@b.org", "password": None}
        )
    )["password"]
    stranger = await shared_api.anonymous()
    token = (await stranger.post("/auth/login", {"username": name, "password": given}))["token"]
    me = await shared_api.with_token(token)
    made = await me.post("/tokens", {"name": "mine"})
    await me.post("/users/me/password", {"current_password": given, "new_password": new})
    await me.call("DELETE", f"/tokens/{made['info']['id']}")
    async with shared_api.database.transaction() as tx:
        reset = await service.set_password(tx, name, bcrypt_rounds=FEW_ROUNDS)

    async with shared_api.database.read() as read:
        audit = [
            json.dumps([row.before, row.after, row.actor_label, row.action])
            for row in await read.scalars(select(AuditEvent))
        ]
        events = [json.dumps(row.payload) for row in await read.scalars(select(Event))]
    actions = " ".join(audit)
    for action in ("user.created", "token.created", "token.revoked", "user.password_changed"):
        assert action in actions
    kept = "\n".join(audit + events)
    for secret in (given, new, generated, token, made["token"], reset, PASSWORD, "$2b$"):
        assert secret not in kept
    assert user["id"] in {row.entity_id for row in await audit_of(shared_api.database, user["id"])}


async def test_a_failing_query_does_not_tell_what_was_to_be_stored(shared_api: Api):
    """Errors of the database are logged; what they say must not hold the values."""
    secret = make_password(SecretStr(PASSWORD), rounds=FEW_ROUNDS).password_hash

    async def store_twice() -> None:
        async with shared_api.database.transaction() as tx:
            user = await make_user(tx)
            twin = await make_user(tx)
            twin.username = user.username
            twin.password_hash = secret
            await tx.flush()

    with pytest.raises(IntegrityError) as failure:
        await store_twice()
    assert secret not in str(failure.value)
    assert "hidden due to hide_parameters" in str(failure.value)

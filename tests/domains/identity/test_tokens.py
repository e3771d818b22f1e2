import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from agentvine.db.session import Database
from agentvine.domains.identity import tokens
from agentvine.domains.identity.enums import TokenKind, UserRole
from agentvine.domains.identity.errors import TokenInvalid
from agentvine.domains.identity.last_use import LastUses
from agentvine.domains.identity.models import ApiToken, User
from agentvine.domains.identity.scopes import SCOPES
from agentvine.domains.identity.tokens import TokenAuthenticator
from agentvine.kit.crypto import hash_token
from tests.support.api import Api, unknown_id
from tests.support.builders.identity import make_token, make_user, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def limited(api: Api, *scopes: str, role: UserRole = UserRole.DEVELOPER, **given: Any):
    """Somebody with a token that is limited to these scopes."""
    async with api.database.transaction() as tx:
        user = await make_user(tx, role=role)
        text = await make_token(tx, user, *scopes, **given)
    return await api.with_token(text, user)


async def row_of(database: Database, token_id: str) -> ApiToken:
    async with database.read() as read:
        return await read.get_one(ApiToken, uuid.UUID(token_id))


async def test_a_token_shows_a_prefix_and_only_its_hash_is_kept(shared_api: Api):
    person = await shared_api.person(unique("maker"))
    made = await person.post("/tokens", {"name": "mine"})

    text, info = made["token"], made["info"]
    assert re.fullmatch(r"avu_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}", text)
    assert text.startswith(info["prefix"] + "_")
    row = await row_of(shared_api.database, info["id"])
    kept = repr(vars(row))
    assert row.token_hash == hash_token(text)
    assert text not in kept
    assert text.removeprefix(info["prefix"]) not in kept
    listed = (await person.get("/tokens"))["items"]
    assert info["id"] in {token["id"] for token in listed}
    assert all(set(token) == set(info) for token in listed)
    assert not {"token", "token_hash"} & set(info)


async def test_a_token_may_do_what_its_scopes_say_and_no_more(shared_api: Api):
    reader = await limited(shared_api, "projects:read")
    await reader.get("/projects")
    await reader.get("/auth/whoami")
    for method, path in (("POST", "/projects"), ("GET", "/tasks"), ("GET", "/tokens")):
        refusal = await reader.refused(method, path, 403, json={"name": "x"})
        assert refusal["code"] == "scope_missing"


async def test_a_scope_gives_nobody_more_than_their_role(shared_api: Api):
    viewer = await limited(shared_api, "projects:write", "users:admin", role=UserRole.VIEWER)
    assert (await viewer.refused("POST", "/projects", 403, json={"name": "x"}))["code"] == (
        "role_too_low"
    )
    body = {"username": unique("x"), "email": "x@example.org"}
    assert (await viewer.refused("POST", "/users", 403, json=body))["code"] == "role_too_low"


async def test_a_token_makes_tokens_with_a_part_of_its_scopes_only(shared_api: Api):
    parent = await limited(shared_api, "tokens:own", "projects:read", "tasks:read")

    part = await parent.post("/tokens", {"name": "part", "scopes": ["projects:read"]})
    same = await parent.post("/tokens", {"name": "same"})
    wider = await parent.refused(
        "POST", "/tokens", 403, json={"name": "w", "scopes": ["projects:read", "projects:write"]}
    )

    assert part["info"]["scopes"] == ["projects:read"]
    assert same["info"]["scopes"] == ["projects:read", "tasks:read", "tokens:own"]
    assert (wider["code"], wider["scopes"]) == ("scope_too_wide", ["projects:write"])
    child = await shared_api.with_token(part["token"])
    assert (await child.refused("POST", "/tokens", 403, json={"name": "again"}))["code"] == (
        "scope_missing"
    )


async def test_a_scope_that_does_not_exist_is_refused_by_name(shared_api: Api):
    person = await shared_api.person(unique("maker"))
    for wrong in ("project:read", "*", "admin", ""):
        problem = await person.refused(
            "POST", "/tokens", 422, json={"name": "x", "scopes": [wrong, "tasks:read"]}
        )
        assert (problem["code"], problem["unknown"]) == ("scope_unknown", [wrong])
    every = await person.post("/tokens", {"name": "all", "scopes": sorted(SCOPES)})
    assert every["info"]["scopes"] == sorted(SCOPES)


async def test_a_token_makes_none_that_outlives_it(shared_api: Api):
    for scopes in ((), ("tokens:own",)):
        parent = await limited(shared_api, *scopes, lifetime=timedelta(days=2))
        mine = (await parent.get("/tokens"))["items"] if not scopes else None
        never = await parent.post("/tokens", {"name": "never"})
        longer = await parent.post("/tokens", {"name": "longer", "expires_in_days": 30})
        shorter = await parent.post("/tokens", {"name": "shorter", "expires_in_days": 1})

        end = datetime.fromisoformat(never["info"]["expires_at"])
        assert longer["info"]["expires_at"] == never["info"]["expires_at"]
        assert datetime.fromisoformat(shorter["info"]["expires_at"]) < end
        assert end <= datetime.now(UTC) + timedelta(days=2)
        assert mine is None or mine[0]["expires_at"] == never["info"]["expires_at"]


async def test_whoever_has_just_shown_the_password_may_make_a_lasting_token(shared_api: Api):
    async with shared_api.database.transaction() as tx:
        user = await make_user(tx)
        _, text = await tokens.issue_token(
            tx,
            kind=TokenKind.USER,
            name="sign-in",
            user_id=user.id,
            scopes=[],
            lifetime=timedelta(days=30),
            is_sign_in=True,
        )
    person = await shared_api.with_token(text)
    assert (await person.post("/tokens", {"name": "for CI"}))["info"]["expires_at"] is None
    # A token cannot give itself that right by its name.
    named = await person.post("/tokens", {"name": "sign-in", "expires_in_days": 1})
    again = await shared_api.with_token(named["token"])
    assert (await again.post("/tokens", {"name": "more"}))["info"]["expires_at"] is not None


async def test_an_expired_token_is_refused(shared_api: Api):
    person = await shared_api.person(unique("late"))
    made = await person.post("/tokens", {"name": "short", "expires_in_days": 1})
    late = await shared_api.with_token(made["token"])
    await late.get("/auth/whoami")

    await set_times(shared_api, made["info"]["id"], expires_at=datetime.now(UTC))

    problem = await late.refused("GET", "/auth/whoami", 401)
    assert problem["code"] == "token_invalid"
    assert "short" in problem["detail"]


async def set_times(api: Api, token_id: str, **values: datetime) -> None:
    async with api.database.transaction() as tx:
        await tx.execute(
            update(ApiToken)
            .where(ApiToken.id == uuid.UUID(token_id))
            .values(values)
            .execution_options(synchronize_session=False)
        )


async def test_a_revoked_token_is_dead_at_once_and_revoking_twice_is_no_error(shared_api: Api):
    person = await shared_api.person(unique("owner"))
    made = await person.post("/tokens", {"name": "to end"})
    other = await shared_api.with_token(made["token"])
    await other.get("/auth/whoami")

    for _ in range(2):
        await person.call("DELETE", f"/tokens/{made['info']['id']}")
        assert (await other.refused("GET", "/auth/whoami", 401))["code"] == "token_invalid"
    listed = {token["id"]: token for token in (await person.get("/tokens"))["items"]}
    assert listed[made["info"]["id"]]["revoked_at"] is not None


async def test_a_token_can_end_itself(shared_api: Api):
    person = await shared_api.person(unique("owner"))
    made = await person.post("/tokens", {"name": "done"})
    itself = await shared_api.with_token(made["token"])
    answer = await itself.call("DELETE", f"/tokens/{made['info']['id']}")
    assert answer.status_code == 204
    await itself.refused("GET", "/auth/whoami", 401)


async def test_others_tokens_are_neither_seen_nor_ended(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    other = await shared_api.person(unique("other"))
    made = (await owner.post("/tokens", {"name": "mine"}))["info"]

    theirs = await other.refused("DELETE", f"/tokens/{made['id']}", 404)
    nobodys = await other.refused("DELETE", f"/tokens/{unknown_id()}", 404)

    assert theirs["code"] == nobodys["code"] == "token_not_found"
    assert theirs["detail"].replace(made["id"], unknown_id()) == nobodys["detail"]
    assert made["id"] not in {token["id"] for token in (await other.get("/tokens"))["items"]}


async def test_an_admin_sees_and_ends_all_tokens_but_not_with_a_limited_one(shared_api: Api):
    owner = await shared_api.person(unique("owner"))
    made = (await owner.post("/tokens", {"name": "theirs"}))["info"]
    small = await limited(shared_api, "tokens:read", "tokens:own", role=UserRole.ADMIN)
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)

    assert made["id"] not in {token["id"] for token in (await small.get("/tokens"))["items"]}
    await small.refused("DELETE", f"/tokens/{made['id']}", 404)
    seen = (await admin.get("/tokens", params={"limit": 500}))["items"]
    assert made["id"] in {token["id"] for token in seen}
    assert (await admin.call("DELETE", f"/tokens/{made['id']}")).status_code == 204


async def test_only_an_admin_makes_a_workers_token(shared_api: Api):
    body = {"name": "w", "kind": "worker"}
    for role in (UserRole.DEVELOPER, UserRole.VIEWER):
        person = await shared_api.person(unique("no-admin"), role)
        problem = await person.refused("POST", "/tokens", 403, json=body)
        assert problem["code"] == "worker_tokens_are_for_admins"
    small = await limited(shared_api, "tokens:own", role=UserRole.ADMIN)
    assert (await small.refused("POST", "/tokens", 403, json=body))["code"] == "scope_too_wide"

    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    made = await admin.post("/tokens", body)
    assert made["token"].startswith("avw_")
    worker = await shared_api.with_token(made["token"])
    registration = {"name": unique("w"), "session_id": unknown_id(), "runtimes": ["command"]}
    await worker.post("/workers/register", registration)
    await worker.refused("GET", "/projects", 403)


async def test_a_workers_token_with_scopes_or_of_another_kind_is_refused(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    for body in (
        {"name": "w", "kind": "worker", "scopes": ["tasks:read"]},
        {"name": "g", "kind": "gateway"},
    ):
        await admin.refused("POST", "/tokens", 422, json=body)


async def test_tokens_die_with_the_activity_of_their_user(shared_api: Api):
    admin = await shared_api.person(unique("admin"), UserRole.ADMIN)
    chief = await shared_api.person(unique("chief"), UserRole.ADMIN)
    made = await chief.post("/tokens", {"name": "w", "kind": "worker"})
    worker = await shared_api.with_token(made["token"])
    body = {"name": unique("w"), "session_id": unknown_id(), "runtimes": ["command"]}
    await worker.post("/workers/register", body)
    path = f"/users/{chief.actor.user_id}"

    await admin.call("PATCH", path, json={"is_active": False})
    await chief.refused("GET", "/auth/whoami", 401)
    await worker.refused("POST", "/workers/register", 401, json=body)

    await admin.call("PATCH", path, json={"is_active": True, "role": "viewer"})
    # Its role counts as it is now, not as it was when the token was made.
    assert (await chief.refused("POST", "/projects", 403, json={"name": "x"}))["code"] == (
        "role_too_low"
    )


@pytest.mark.parametrize(
    "forged",
    [
        "{prefix}",
        "{prefix}_",
        "{prefix}_wrong",
        "{text}x",
        "{text}_x",
        "avu__{rest}",
        "avw_{inner}_{rest}",
        "avu_%_{rest}",
        "avu_________{rest}",
        "é{text}",
        "' OR 1=1 --",
    ],
)
async def test_a_token_that_is_nearly_right_is_refused(shared_api: Api, forged: str):
    person = await shared_api.person(unique("target"))
    text = (await person.post("/tokens", {"name": "x"}))["token"]
    prefix = text[:12]
    parts = {"text": text, "prefix": prefix, "inner": prefix[4:], "rest": text[13:]}
    stranger = await shared_api.anonymous()
    header = b"Bearer " + forged.format(**parts).encode()
    problem = await stranger.refused(
        "GET", "/auth/whoami", 401, headers=[(b"Authorization", header)]
    )
    assert problem["code"] == "token_invalid"


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer "])
async def test_the_schemes_case_and_blanks_do_not_matter(shared_api: Api, scheme: str):
    person = await shared_api.person(unique("polite"))
    text = (await person.post("/tokens", {"name": "x"}))["token"]
    stranger = await shared_api.anonymous()
    await stranger.get("/auth/whoami", headers={"Authorization": f"{scheme} {text}"})


async def test_a_token_anywhere_but_in_its_header_is_not_looked_at(shared_api: Api):
    person = await shared_api.person(unique("careless"))
    text = (await person.post("/tokens", {"name": "x"}))["token"]
    stranger = await shared_api.anonymous()
    for options in (
        {"params": {"token": text, "access_token": text}},
        {"headers": {"X-Api-Key": text, "Cookie": f"token={text}"}},
    ):
        await stranger.refused("GET", "/auth/whoami", 401, **options)


async def test_the_last_use_of_a_token_is_written_in_batches(shared_api: Api):
    person = await shared_api.person(unique("user"))
    made = await person.post("/tokens", {"name": "used"})
    uses = shared_api.state.effect(LastUses)
    other = await shared_api.with_token(made["token"])

    assert made["info"]["last_used_at"] is None
    await other.get("/auth/whoami")
    await uses.write()
    first = (await row_of(shared_api.database, made["info"]["id"])).last_used_at
    assert first is not None
    await other.get("/auth/whoami")
    await uses.write()
    second = (await row_of(shared_api.database, made["info"]["id"])).last_used_at
    assert second is not None
    assert second > first


async def test_an_older_use_does_not_hide_a_newer_one(shared_api: Api):
    person = await shared_api.person(unique("user"))
    made = await person.post("/tokens", {"name": "used"})
    now = datetime.now(UTC)
    row = await row_of(shared_api.database, made["info"]["id"])
    for at in (now, now - timedelta(minutes=5)):  # another server was slower to write
        uses = LastUses(shared_api.database)
        uses.note(row.id, at)
        await uses.write()
    assert (await row_of(shared_api.database, made["info"]["id"])).last_used_at == now


async def test_a_refused_token_is_not_used(shared_api: Api):
    person = await shared_api.person(unique("user"))
    made = await person.post("/tokens", {"name": "x", "expires_in_days": 1})
    await set_times(shared_api, made["info"]["id"], expires_at=datetime.now(UTC))
    await (await shared_api.with_token(made["token"])).refused("GET", "/auth/whoami", 401)
    await shared_api.state.effect(LastUses).write()
    assert (await row_of(shared_api.database, made["info"]["id"])).last_used_at is None


async def test_a_gateway_token_opens_nothing_here(shared_api: Api):
    async with shared_api.database.transaction() as tx:
        user = await make_user(tx, role=UserRole.ADMIN)
        _, text = await tokens.issue_token(
            tx, kind=TokenKind.GATEWAY, name="run", user_id=user.id, scopes=[]
        )
    assert text.startswith("avg_")
    await (await shared_api.with_token(text)).refused("GET", "/auth/whoami", 401)


async def test_a_persons_token_is_nothing_without_the_person(shared_api: Api):
    async with shared_api.database.transaction() as tx:
        user = await make_user(tx)
        text = await make_token(tx, user)
    authenticator = TokenAuthenticator(shared_api.database, LastUses(shared_api.database))
    await authenticator.authenticate(text)
    async with shared_api.database.transaction() as tx:
        await tx.delete(await tx.get_one(User, user.id))
    with pytest.raises(TokenInvalid):
        await authenticator.authenticate(text)


async def test_names_and_lifetimes_of_tokens_have_bounds(shared_api: Api):
    person = await shared_api.person(unique("maker"))
    for body in (
        {"name": ""},
        {"name": "x" * 101},
        {"name": "x", "expires_in_days": 0},
        {"name": "x", "expires_in_days": 3651},
        {"name": "x", "scopes": ["tasks:read"] * 51},
        {"name": "x", "kind": "admin"},
        {"name": "x", "user_id": unknown_id()},
        {"name": "a\0b"},
    ):
        problem = await person.refused("POST", "/tokens", 422, json=body)
        assert problem["errors"][0]["pointer"].startswith("/body"), body

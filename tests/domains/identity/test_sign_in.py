import asyncio
import statistics
import time
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import select, update

from agentvine.db.session import Transaction
from agentvine.domains.identity import service
from agentvine.domains.identity.limiter import (
    MAX_FAILURES,
    WINDOW,
    SignInLimiter,
    forget_attempts,
    forget_old_attempts,
)
from agentvine.domains.identity.models import ServerState, User
from agentvine.domains.identity.passwords import is_password, make_password
from agentvine.kit.guards import WaitingInsideTransaction
from agentvine.protocol.enums import UserRole
from tests.support.api import Api, Caller
from tests.support.builders.identity import FEW_ROUNDS, PASSWORD, make_user, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def sign_in(caller: Caller, name: str, password: str = PASSWORD) -> httpx2.Response:
    body = {"username": name, "password": password}
    return await caller.call("POST", "/auth/login", json=body)


async def new_user(api: Api, **given: Any) -> str:
    async with api.database.transaction() as tx:
        return (await make_user(tx, **given)).username


async def counts_of(tx: Transaction) -> list[int]:
    rows = await tx.scalars(select(ServerState).where(ServerState.key.startswith("sign_in.")))
    return [row.value["count"] for row in rows]


async def test_the_right_password_opens_and_says_when_it_did(shared_api: Api):
    name = await new_user(shared_api)
    stranger = await shared_api.anonymous()

    answer = await sign_in(stranger, name)

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    assert made["info"]["expires_at"] is not None
    me = await (await shared_api.with_token(made["token"])).get("/auth/whoami")
    assert me["user"]["username"] == name
    assert me["user"]["last_login_at"] is not None
    assert "password_hash" not in me["user"]


@pytest.mark.parametrize("spelling", [str.upper, str.title, "{}@EXAMPLE.org".format, " {} ".format])
async def test_name_and_address_are_taken_in_any_case(shared_api: Api, spelling):
    name = await new_user(shared_api)
    assert (await sign_in(await shared_api.anonymous(), spelling(name))).status_code == 200


async def test_all_who_may_not_come_in_get_the_same_answer(shared_api: Api):
    stranger = await shared_api.anonymous()
    name = await new_user(shared_api)
    gone = await new_user(shared_api, is_active=False)
    answers = [
        await sign_in(stranger, name, "not the password"),
        await sign_in(stranger, gone, PASSWORD),
        await sign_in(stranger, gone, "not the password"),
        await sign_in(stranger, unique("nobody"), PASSWORD),
        await sign_in(stranger, name, ""),
    ]
    bodies = [{**answer.json(), "instance": None} for answer in answers]

    assert {answer.status_code for answer in answers} == {401}
    assert bodies == [bodies[0]] * len(bodies)
    assert bodies[0]["code"] == "credentials_wrong"
    assert all(name not in answer.text for answer in answers)


async def test_saying_no_takes_as_long_for_nobody_as_for_somebody():
    rounds = 10  # long enough to be told from noise
    somebody = make_password(SecretStr(PASSWORD), rounds=rounds).password_hash
    await is_password(SecretStr("x"), None, rounds=rounds)  # nobody's hash is made once

    async def seconds(password_hash: str | None) -> float:
        began = time.perf_counter()
        assert not await is_password(SecretStr("x"), password_hash, rounds=rounds)
        return time.perf_counter() - began

    known, unknown = [], []
    for _ in range(7):
        known.append(await seconds(somebody))
        unknown.append(await seconds(None))
    assert 0.4 < statistics.median(unknown) / statistics.median(known) < 2.5


async def test_a_password_longer_than_bcrypts_72_bytes_counts_to_its_last_letter(shared_api: Api):
    admin = await shared_api.person(unique("admin"), role=UserRole.ADMIN)
    name = unique("long")
    password = "ä" * 60 + "end"  # 123 bytes
    body = {"username": name, "email": f"{name}@example.org", "password": password}
    made = await admin.post("/users", body)
    stranger = await shared_api.anonymous()

    assert made["password"] is None
    assert (await sign_in(stranger, name, password)).status_code == 200
    assert (await sign_in(stranger, name, password[:-1])).status_code == 401
    assert (await sign_in(stranger, name, password + "x")).status_code == 401


async def test_a_hundred_guesses_at_once_count_exactly(shared_api: Api):
    name = await new_user(shared_api)
    stranger = await shared_api.anonymous()

    answers = await asyncio.gather(*(sign_in(stranger, name, f"no {n}") for n in range(100)))

    statuses = [answer.status_code for answer in answers]
    assert statuses.count(401) == MAX_FAILURES
    # A machine under load may have no turn left for one of them; that one was not looked at either.
    assert set(statuses) <= {401, 429, 503}
    assert statuses.count(429) > MAX_FAILURES
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == "too_many_attempts"
    assert 1 <= int(refused.headers["retry-after"]) <= WINDOW.total_seconds()
    # Not even the right one now, in whatever case, and other people are not held up.
    assert (await sign_in(stranger, name.upper())).status_code == 429
    assert (await sign_in(stranger, await new_user(shared_api))).status_code == 200


async def test_an_unknown_name_is_held_up_after_as_many_guesses_as_a_known_one(shared_api: Api):
    stranger = await shared_api.anonymous()
    name = unique("nobody")
    statuses = [(await sign_in(stranger, name)).status_code for _ in range(MAX_FAILURES + 1)]
    assert statuses == [401] * MAX_FAILURES + [429]


async def test_guesses_at_a_name_do_not_tell_which_address_belongs_to_it(shared_api: Api):
    stranger = await shared_api.anonymous()
    name = await new_user(shared_api)
    for _ in range(MAX_FAILURES):
        await sign_in(stranger, name, "no")
    assert (await sign_in(stranger, name, "no")).status_code == 429
    assert (await sign_in(stranger, f"{name}@example.org", "no")).status_code == 401


async def test_a_success_forgets_the_failures_before_it(shared_api: Api):
    stranger = await shared_api.anonymous()
    name = await new_user(shared_api)
    for _ in range(2):
        for _ in range(MAX_FAILURES - 1):
            assert (await sign_in(stranger, name, "no")).status_code == 401
        assert (await sign_in(stranger, name)).status_code == 200


async def test_attempts_and_successes_at_once_trip_over_nothing(shared_api: Api):
    name = unique("busy")
    database = shared_api.database

    async def come_and_go() -> None:
        await SignInLimiter(database).attempt(name)
        async with database.transaction() as tx:
            await forget_attempts(tx, name)

    for _ in range(5):
        await asyncio.gather(*(come_and_go() for _ in range(MAX_FAILURES)))


async def test_a_window_ends_and_its_count_is_forgotten(shared_api: Api):
    stranger = await shared_api.anonymous()
    name = unique("later")
    for _ in range(MAX_FAILURES):
        await sign_in(stranger, name)
    assert (await sign_in(stranger, name)).status_code == 429

    async with shared_api.database.transaction() as tx:
        for row in await tx.scalars(select(ServerState).where(ServerState.key.contains("sign_in"))):
            row.value = {**row.value, "started_at": (tx.now - WINDOW).isoformat()}
    assert (await sign_in(stranger, name)).status_code == 401

    async with shared_api.database.transaction() as tx:
        assert await counts_of(tx)
        old = tx.now - 2 * WINDOW - timedelta(seconds=1)
        await tx.execute(
            update(ServerState)
            .where(ServerState.key.startswith("sign_in."))
            .values(updated_at=old)
            .execution_options(synchronize_session=False)
        )
        assert await forget_old_attempts(tx) > 0
        assert await counts_of(tx) == []


async def test_what_is_typed_into_the_name_field_is_not_kept_readable(shared_api: Api):
    typed = unique("my-password-in-the-wrong-field")
    await sign_in(await shared_api.anonymous(), typed)
    async with shared_api.database.read() as read:
        rows = (await read.scalars(select(ServerState))).all()
    assert all(typed not in repr((row.key, row.value)) for row in rows)


async def test_ones_own_password_changes_for_the_old_one_only(shared_api: Api):
    name = await new_user(shared_api)
    stranger = await shared_api.anonymous()
    signed_in = (await sign_in(stranger, name)).json()["token"]
    elsewhere = await shared_api.with_token((await sign_in(stranger, name)).json()["token"])
    me = await shared_api.with_token(signed_in)
    made = await me.post("/tokens", {"name": "for a script"})
    script = await shared_api.with_token(made["token"])
    path, new = "/users/me/password", "another long one"

    wrong = await me.refused(
        "POST", path, 401, json={"current_password": "no", "new_password": new}
    )
    assert wrong["code"] == "credentials_wrong"
    assert (await sign_in(stranger, name)).status_code == 200
    await me.post(path, {"current_password": PASSWORD, "new_password": new})

    assert (await sign_in(stranger, name, PASSWORD)).status_code == 401
    assert (await sign_in(stranger, name, new)).status_code == 200
    # Whoever signed in with the old one is out; who changed it, and made tokens, go on.
    await elsewhere.refused("GET", "/auth/whoami", 401)
    await me.get("/auth/whoami")
    await script.get("/auth/whoami")


async def test_a_stolen_token_does_not_serve_to_guess_the_password(shared_api: Api):
    person = await shared_api.person(unique("robbed"))
    body = {"current_password": "a guess", "new_password": "long enough for it"}
    answers = await asyncio.gather(
        *(person.call("POST", "/users/me/password", json=body) for _ in range(3 * MAX_FAILURES))
    )
    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (MAX_FAILURES, 2 * MAX_FAILURES)


async def test_two_who_change_a_password_at_once_do_not_both_succeed(shared_api: Api):
    name = await new_user(shared_api)
    me = await shared_api.with_token(
        (await sign_in(await shared_api.anonymous(), name)).json()["token"]
    )
    bodies = [{"current_password": PASSWORD, "new_password": f"the new one {n}"} for n in range(4)]
    answers = await asyncio.gather(
        *(me.call("POST", "/users/me/password", json=body) for body in bodies)
    )
    assert sorted(answer.status_code for answer in answers) == [204, 401, 401, 401]


async def test_no_password_is_hashed_while_a_transaction_is_open(shared_api: Api):
    async with shared_api.database.transaction():
        with pytest.raises(WaitingInsideTransaction):
            await is_password(SecretStr("x"), None, rounds=FEW_ROUNDS)


async def test_a_user_of_a_password_reset_by_the_operator_must_sign_in_again(shared_api: Api):
    name = await new_user(shared_api)
    stranger = await shared_api.anonymous()
    before = await shared_api.with_token((await sign_in(stranger, name)).json()["token"])
    async with shared_api.database.transaction() as tx:
        new = await service.set_password(tx, name.upper(), bcrypt_rounds=FEW_ROUNDS)

    await before.refused("GET", "/auth/whoami", 401)
    assert (await sign_in(stranger, name)).status_code == 401
    assert (await sign_in(stranger, name, new)).status_code == 200
    async with shared_api.database.read() as read:
        user = (await read.scalars(select(User).where(User.username == name))).one()
    assert new not in user.password_hash

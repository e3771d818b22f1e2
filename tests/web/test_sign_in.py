"""Who gets in by a browser, for how long, and how they are let out."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import select, update

from agentvine.domains.identity import service
from agentvine.domains.identity.jobs import TidyingChore
from agentvine.domains.identity.limiter import MAX_FAILURES
from agentvine.domains.identity.models import AuditEvent, LoginSession, User
from agentvine.domains.identity.passwords import make_password
from agentvine.domains.identity.sessions import LONGEST, UNUSED
from tests.support.api import Api
from tests.support.browser import SITE, Browser, browser, seen
from tests.support.builders.identity import FEW_ROUNDS, PASSWORD, make_user, unique

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def new_user(api: Api, **given: Any) -> User:
    async with api.database.transaction() as tx:
        return await make_user(tx, **given)


async def sign_in(visitor: Browser, user: User, password: str = PASSWORD, to: str = "/inbox"):
    form = {"username": user.username, "password": password, "to": to}
    return await visitor.send("/sign-in", form)


async def sessions_of(api: Api, user: User) -> list[LoginSession]:
    async with api.database.read() as read:
        query = select(LoginSession).where(LoginSession.user_id == user.id)
        return list((await read.scalars(query)).all())


async def change_session(api: Api, user: User, **values: Any) -> None:
    async with api.database.transaction() as tx:
        changed = update(LoginSession).where(LoginSession.user_id == user.id).values(**values)
        await tx.execute(changed)


async def is_in(visitor: Browser) -> bool:
    answer = await visitor.get("/inbox")
    if answer.status_code == 303:
        assert answer.headers["location"] == "/sign-in?to=%2Finbox"
        return False
    assert answer.status_code == 200
    return True


async def test_a_password_lets_a_browser_in_and_signing_out_lets_it_out(shared_api: Api):
    user, visitor = await new_user(shared_api), await browser(shared_api)
    assert not await is_in(visitor)

    answer = await sign_in(visitor, user)

    assert (answer.status_code, answer.headers["location"]) == (303, "/inbox")
    assert await is_in(visitor)
    assert user.username in seen(await visitor.get("/inbox")).words
    cookie = dict(visitor.http.cookies)["agentvine_session"]

    left = await visitor.send("/sign-out", {})

    assert (left.status_code, left.headers["location"]) == (303, "/sign-in")
    assert not await is_in(visitor)
    visitor.http.cookies.set("agentvine_session", cookie)
    assert not await is_in(visitor), "the cookie alone is no way back"
    async with shared_api.database.read() as read:
        [row] = await sessions_of(shared_api, user)
        query = select(AuditEvent.action).where(AuditEvent.entity_id == str(row.id))
        told = (await read.scalars(query.order_by(AuditEvent.id))).all()
    assert list(told) == ["session.opened", "session.ended"]
    assert row.token_hash != cookie


async def test_a_cookie_is_for_this_server_alone_and_no_script_reads_it(shared_api: Api):
    user = await new_user(shared_api)
    plain = await sign_in(await browser(shared_api), user)
    secret = await browser(shared_api, site="https://pages.test")
    form = {"username": user.username, "password": PASSWORD}
    safe = await secret.http.post("/sign-in", data=form, headers={"Sec-Fetch-Site": "same-origin"})

    kept = plain.headers["set-cookie"].lower()
    assert kept.startswith("agentvine_session=")
    assert {"httponly", "samesite=lax", "path=/"} <= set(kept.split("; "))
    assert "secure" not in kept
    kept = safe.headers["set-cookie"].lower()
    assert kept.startswith("__host-agentvine_session=")
    assert {"httponly", "samesite=lax", "path=/", "secure"} <= set(kept.split("; "))


async def test_a_wrong_password_is_told_with_the_name_still_there(shared_api: Api):
    user, visitor = await new_user(shared_api), await browser(shared_api)

    answer = await sign_in(visitor, user, "wrong <b>")

    assert answer.status_code == 401
    page = seen(answer)
    assert "The user name or the password is wrong" in page.words
    assert page.fields["username"][0]["value"] == user.username
    assert "wrong <b>" not in answer.text
    assert "set-cookie" not in answer.headers
    assert not await is_in(visitor)


async def test_guessing_is_slowed_down_as_by_the_api(shared_api: Api):
    user, visitor = await new_user(shared_api), await browser(shared_api)
    for _ in range(MAX_FAILURES):
        assert (await sign_in(visitor, user, "guess")).status_code == 401

    assert (await sign_in(visitor, user)).status_code == 429
    assert not await is_in(visitor)


@pytest.mark.parametrize("form", [{}, {"username": "x"}, {"username": "", "password": "y"}])
async def test_a_form_that_lacks_something_says_so(shared_api: Api, form: dict[str, str]):
    answer = await (await browser(shared_api)).send("/sign-in", {**form})
    assert answer.status_code in {401, 422}
    assert seen(answer).tags.count("form") == 1


async def test_who_is_not_active_gets_nowhere(shared_api: Api):
    user = await new_user(shared_api)
    visitor = await browser(shared_api, user)
    assert await is_in(visitor)
    async with shared_api.database.transaction() as tx:
        await tx.execute(update(User).where(User.id == user.id).values(is_active=False))

    assert not await is_in(visitor)
    assert (await sign_in(await browser(shared_api), user)).status_code == 401


async def test_a_new_password_lets_all_browsers_out(shared_api: Api):
    user = await new_user(shared_api)
    first, second = await browser(shared_api, user), await browser(shared_api, user)
    other = await browser(shared_api, await new_user(shared_api))
    new = make_password(SecretStr("another long one"), rounds=FEW_ROUNDS)
    async with shared_api.database.transaction() as tx:
        assert user.password_hash is not None
        await service.change_password(tx, user.id, new, proved_by=user.password_hash)

    assert [await is_in(each) for each in (first, second, other)] == [False, False, True]


async def test_a_reset_password_lets_all_browsers_out(shared_api: Api):
    user = await new_user(shared_api)
    visitor = await browser(shared_api, user)
    async with shared_api.database.transaction() as tx:
        await service.set_password(tx, user.username, bcrypt_rounds=FEW_ROUNDS)

    assert not await is_in(visitor)


Times = Callable[[datetime], dict[str, datetime]]


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(lambda now: {"expires_at": now - timedelta(seconds=1)}, id="unused"),
        pytest.param(lambda now: {"revoked_at": now}, id="ended"),
    ],
)
async def test_what_is_over_lets_nobody_in_and_is_forgotten(shared_api: Api, times: Times):
    user = await new_user(shared_api)
    visitor = await browser(shared_api, user)
    await change_session(shared_api, user, **times(shared_api.state.clock.now()))

    assert not await is_in(visitor)
    await TidyingChore(shared_api.database).run()
    assert await sessions_of(shared_api, user) == []


async def test_one_in_use_is_kept_and_goes_on_up_to_its_longest(shared_api: Api):
    user = await new_user(shared_api)
    visitor = await browser(shared_api, user)
    [fresh] = await sessions_of(shared_api, user)
    now = shared_api.state.clock.now()
    hour = timedelta(hours=1)

    assert await is_in(visitor)
    assert [row.expires_at for row in await sessions_of(shared_api, user)] == [fresh.expires_at]

    await change_session(shared_api, user, last_seen_at=now - hour, expires_at=now + hour)
    assert await is_in(visitor)
    [seen_again] = await sessions_of(shared_api, user)
    assert seen_again.expires_at >= now + UNUSED

    began = now - LONGEST + hour
    await change_session(shared_api, user, created_at=began, last_seen_at=now - hour)
    assert await is_in(visitor)
    [old] = await sessions_of(shared_api, user)
    assert old.expires_at == began + LONGEST
    await TidyingChore(shared_api.database).run()
    assert await is_in(visitor)


@pytest.mark.parametrize(
    ("wanted", "there"),
    [
        ("/questions/00000000-0000-0000-0000-000000000000", None),
        ("/inbox?cursor=abc", None),
        ("https://evil.example/inbox", "/inbox"),
        ("//evil.example", "/inbox"),
        ("/\\evil.example", "/inbox"),
        ("/inbox\n//evil.example", "/inbox"),
        ("javascript:alert(1)", "/inbox"),
        ("", "/inbox"),
    ],
)
async def test_signing_in_leads_to_pages_of_ours_alone(
    shared_api: Api, wanted: str, there: str | None
):
    user, visitor = await new_user(shared_api), await browser(shared_api)
    answer = await sign_in(visitor, user, to=wanted)
    assert answer.headers["location"] == (there or wanted)
    again = await visitor.http.get("/sign-in", params={"to": wanted})
    assert (again.status_code, again.headers["location"]) == (303, there or wanted)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{SITE}.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": SITE},
        {"Sec-Fetch-Site": "same-site", "Origin": SITE},
    ],
)
async def test_forms_of_other_sites_are_refused(shared_api: Api, headers: dict[str, str]):
    user = await new_user(shared_api)
    visitor = await browser(shared_api, user)

    signing_in = {"username": user.username, "password": PASSWORD}
    for path, form in (("/sign-in", signing_in), ("/sign-out", {"a": "b"})):
        answer = await visitor.http.post(path, data=form, headers=headers)
        assert answer.status_code == 403
        assert "not sent from a page of ours" in seen(answer).words
    assert await is_in(visitor)


async def test_the_api_takes_no_cookies_and_pages_take_no_tokens(shared_api: Api):
    person = await shared_api.person(unique("person"))
    visitor = await browser(shared_api, person.user)
    assert (await visitor.get("/api/v1/auth/whoami")).status_code == 401

    token = person.http.headers["Authorization"]
    answer = await (await browser(shared_api)).http.get("/inbox", headers={"Authorization": token})
    assert answer.status_code == 303


async def test_no_cookie_is_written_to_the_log(shared_api: Api):
    user, visitor = await new_user(shared_api), await browser(shared_api)
    with structlog.testing.capture_logs() as logs:
        await sign_in(visitor, user)
        await visitor.get("/inbox")
        await visitor.send("/sign-out", {})
    assert dict(visitor.http.cookies) == {}
    assert PASSWORD not in str(logs)
    assert "agentvine_session" not in str(logs)

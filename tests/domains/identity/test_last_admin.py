"""The last admin cannot be removed; each test needs a database in which nobody else is one."""

import asyncio

import pytest
from sqlalchemy import select, update

from agentvine.config.settings import DatabaseSettings
from agentvine.db.session import Database
from agentvine.domains.identity import queries, service
from agentvine.domains.identity.enums import UserRole
from agentvine.domains.identity.errors import LastAdmin
from agentvine.domains.identity.models import User
from agentvine.kit.clock import SystemClock
from agentvine.protocol.identity import UserEditIn
from tests.support.api import Api, Caller
from tests.support.builders.identity import make_user


async def test_the_last_admin_stays_one(api: Api):
    admin = await only_admin(api)
    path = f"/users/{admin.actor.user_id}"
    for change in ({"role": "developer"}, {"is_active": False}, {"role": "viewer"}):
        assert (await admin.refused("PATCH", path, 409, json=change))["code"] == "last_admin"
    second = await admin.post("/users", {"username": "second", "email": "s@b.org", "role": "admin"})
    # One who is not active helps nobody.
    other = f"/users/{second['user']['id']}"
    assert (await admin.call("PATCH", other, json={"is_active": False})).status_code == 200
    assert (await admin.refused("PATCH", path, 409, json={"role": "user"}))["code"] == "last_admin"
    assert (await admin.call("PATCH", other, json={"is_active": True})).status_code == 200
    assert (await admin.call("PATCH", path, json={"role": "user"})).status_code == 200


async def only_admin(api: Api) -> Caller:
    admin = await api.person("chief", UserRole.ADMIN)
    async with api.database.transaction() as tx:
        await tx.execute(
            update(User)
            .where(User.id != admin.actor.user_id)
            .values(role=UserRole.DEVELOPER)
            .execution_options(synchronize_session=False)
        )
    return admin


CHANGES = (
    ({"role": "developer"}, {"role": "developer"}),
    ({"is_active": False}, {"is_active": False}),
    ({"role": "viewer"}, {"is_active": False}),
)


async def test_of_two_admins_who_remove_each_other_at_once_one_stays(api: Api):
    first = await only_admin(api)
    second = await api.person("second", UserRole.ADMIN)
    for changes in CHANGES * 3:
        async with api.database.transaction() as tx:
            for caller in (first, second):
                user = await queries.get_user(tx, caller.actor.user_id)
                user.role, user.is_active = UserRole.ADMIN, True
        answers = await asyncio.gather(
            first.call("PATCH", f"/users/{second.actor.user_id}", json=changes[0]),
            second.call("PATCH", f"/users/{first.actor.user_id}", json=changes[1]),
        )
        assert 200 in {answer.status_code for answer in answers}
        async with api.database.read() as read:
            admins = select(User).where(User.role == UserRole.ADMIN, User.is_active.is_(True))
            assert len((await read.scalars(admins)).all()) == 1


async def test_the_lock_on_admins_holds_against_one_who_looked_before(
    postgres_settings: DatabaseSettings,
):
    """The second command has read the user before the first one commits."""
    database = await Database.open(postgres_settings, SystemClock())
    async with database.transaction() as tx:
        one = await make_user(tx, role=UserRole.ADMIN)
        two = await make_user(tx, role=UserRole.ADMIN)
    has_read, may_go = asyncio.Event(), asyncio.Event()

    async def second() -> None:
        async with database.transaction() as tx:
            user = await queries.get_user(tx, two.id)
            has_read.set()
            await may_go.wait()
            await service.edit_user(tx, user, UserEditIn(role=UserRole.VIEWER))

    task = asyncio.create_task(second())
    await has_read.wait()
    async with database.transaction() as tx:
        user = await queries.get_user(tx, one.id)
        await service.edit_user(tx, user, UserEditIn(is_active=False))
    may_go.set()
    with pytest.raises(LastAdmin):
        await task
    await database.close()

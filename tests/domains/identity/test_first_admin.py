import asyncio
from pathlib import Path

from sqlalchemy import func, select

from agentvine.config.settings import DatabaseSettings, Settings, load_settings
from agentvine.domains.identity.enums import UserRole
from agentvine.domains.identity.models import AuditEvent, User
from agentvine.server.lifespan import running
from tests.support.api import PASSWORD_ROUNDS, running_api

PARALLEL = 4


def settings_for(database: DatabaseSettings, data_dir: Path) -> Settings:
    return load_settings(
        database_url=database.url,
        data_dir=data_dir,
        bcrypt_rounds=PASSWORD_ROUNDS,
        secret_key="test key " * 5,
    )


async def test_the_first_start_makes_an_admin_and_the_second_none(
    database_settings: DatabaseSettings, tmp_path: Path
):
    settings = settings_for(database_settings, tmp_path)
    async with running(settings) as first:
        made = first.first_admin
    async with running(settings) as second:
        assert second.first_admin is None

    assert made is not None
    assert made.user.role is UserRole.ADMIN
    assert made.password is not None
    async with running_api(database_settings, tmp_path) as api:
        stranger = await api.anonymous()
        body = {"username": made.user.username, "password": made.password}
        answer = await stranger.post("/auth/login", body)
        me = await (await api.with_token(answer["token"])).get("/auth/whoami")
    assert (me["user"]["role"], me["user"]["is_admin"]) == ("admin", True)


async def test_the_password_of_the_first_admin_is_kept_nowhere(
    database_settings: DatabaseSettings, tmp_path: Path
):
    async with running(settings_for(database_settings, tmp_path)) as inside:
        made = inside.first_admin
        assert made is not None
        assert made.password is not None
        async with inside.http.database.read() as read:
            user = (await read.scalars(select(User))).one()
            audit = (await read.scalars(select(AuditEvent))).all()
    assert user.password_hash.startswith("$2b$")
    assert made.password not in user.password_hash
    assert all(made.password not in repr((row.before, row.after)) for row in audit)


async def test_of_servers_that_start_together_one_makes_the_admin(
    postgres_settings: DatabaseSettings, tmp_path: Path
):
    settings = settings_for(postgres_settings, tmp_path)
    gate = asyncio.Barrier(PARALLEL)

    async def start() -> bool:
        await gate.wait()
        async with running(settings) as inside:
            async with inside.http.database.read() as read:
                assert await read.scalar(select(func.count()).select_from(User)) == 1
            return inside.first_admin is not None

    made = await asyncio.gather(*(start() for _ in range(PARALLEL)))
    assert sorted(made) == [False] * (PARALLEL - 1) + [True]

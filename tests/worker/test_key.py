"""A worker that comes by invitation keeps a key of its own, and comes back with it."""

import asyncio
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from agentvine.client import Client
from agentvine.config.settings import DatabaseSettings
from agentvine.kit.errors import Unauthenticated
from agentvine.protocol.workers import EnrolmentCreateIn
from agentvine.worker.config import WorkerConfig
from agentvine.worker.key import WorkerKeyMissing, with_own_key
from tests.support.fleet import Fleet

pytestmark = pytest.mark.slow

NO_TOKEN = SecretStr("")


@pytest.fixture
async def fleet(database_settings: DatabaseSettings, tmp_path: Path) -> AsyncIterator[Fleet]:
    fleet = Fleet(tmp_path, database_settings)
    await fleet.prepare()
    await fleet.start_server()
    yield fleet
    fleet.stop()


async def invite(fleet: Fleet) -> SecretStr:
    async with fleet.client() as client:
        return SecretStr((await client.workers.invite(EnrolmentCreateIn())).token)


async def test_a_worker_exchanges_its_invitation_and_comes_back_with_its_own_key(
    fleet: Fleet, tmp_path: Path
):
    path = tmp_path / "w1" / "key.json"
    config = WorkerConfig(
        server_url=fleet.url,
        token=NO_TOKEN,
        data_dir=tmp_path,
        name="w1",
        enrolment=await invite(fleet),
        prefers_own_key=True,
    )
    with_key = await with_own_key(config, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = with_key.token.get_secret_value()
    assert key.startswith("avw_")
    assert key in path.read_text()

    # Started anew, with the used invitation still in its unit file, or with nothing at all.
    assert (await with_own_key(config, path)).token.get_secret_value() == key
    bare = replace(config, enrolment=NO_TOKEN, token=SecretStr("somebody's login"))
    assert (await with_own_key(bare, path)).token.get_secret_value() == key
    named = replace(bare, prefers_own_key=False)
    assert await with_own_key(named, path) == named

    with pytest.raises(Unauthenticated):
        await with_own_key(config, tmp_path / "w2" / "key.json")
    with pytest.raises(WorkerKeyMissing):
        await with_own_key(replace(config, enrolment=NO_TOKEN), tmp_path / "w2" / "other.json")


async def test_an_answer_that_was_lost_is_asked_for_again_with_the_same_key(
    fleet: Fleet, tmp_path: Path
):
    path = tmp_path / "w1" / "key.json"
    config = WorkerConfig(
        server_url=fleet.url,
        token=NO_TOKEN,
        data_dir=tmp_path,
        name="w1",
        enrolment=await invite(fleet),
        prefers_own_key=True,
    )
    first = await with_own_key(config, path)
    # As if the process had died before it could note the answer.
    path.write_text(path.read_text().replace('"is_enrolled": true', '"is_enrolled": false'))
    assert (await with_own_key(config, path)).token == first.token


async def test_a_whole_worker_comes_by_invitation_and_works(fleet: Fleet):
    invitation = (await invite(fleet)).get_secret_value()
    fleet.worker_token = ""
    fleet.start_worker("w1", "--enrol", invitation)
    async with fleet.client() as client:
        names = await seen(client)
    assert names == ["w1"], fleet.log_tail()


async def seen(client: Client) -> list[str]:
    """The workers that have come, as soon as one has."""
    async with asyncio.timeout(40):
        while True:
            names = [row.name async for row in client.workers.list()]
            if names:
                return names
            await asyncio.sleep(0.05)

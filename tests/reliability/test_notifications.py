"""People are told at least once, whatever dies; and nothing waits for a channel."""

import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import select

from agentvine.config.channels import EmailSettings, NotificationSettings, TelegramSettings
from agentvine.config.settings import DatabaseSettings
from agentvine.db.base import Base
from agentvine.db.session import Database
from agentvine.domains.notifications.enums import NotificationId
from agentvine.kit.clock import SystemClock
from agentvine.server.background import Supervisor
from tests.support.api import Api, running_api
from tests.support.builders.notifications import make_notifications, make_receiver, rows_of
from tests.support.fleet import Fleet
from tests.support.mail_server import HANG, USUAL, MailServer, running_mail_server
from tests.support.space import make_space
from tests.support.upstream import Heard, Reply, Upstream, running_upstream

pytestmark = [pytest.mark.timeout(600), pytest.mark.promise("P25")]

PASSWORD = "canary-of-the-mailbox"
TOKEN = "123456789:AAcanary-canary-canary-canary-canar"
HURRIED = NotificationSettings(attempt_seconds=4.0, lease_seconds=8.0)
PATIENT = NotificationSettings(attempt_seconds=300.0, lease_seconds=600.0)
"""So that no machine is too slow for an attempt."""


def usual(_verb: str, _rest: str) -> str:
    return USUAL


def taken(_heard: Heard) -> Reply:
    return Reply([json.dumps({"ok": True}).encode()])


@asynccontextmanager
async def channels() -> AsyncGenerator[tuple[MailServer, Upstream]]:
    """A mail server and a Bot API that do as they should."""
    async with running_mail_server(usual) as mail, running_upstream(taken) as bot:
        yield mail, bot


@asynccontextmanager
async def telling_server(
    database: DatabaseSettings,
    folder: Path,
    mail: MailServer,
    bot: Upstream,
    notifications: NotificationSettings,
) -> AsyncGenerator[Api]:
    """A whole server in this process whose operator has set up both channels."""
    async with running_api(
        database,
        folder,
        notifications=notifications,
        email=EmailSettings(
            host="127.0.0.1",
            port=mail.port,
            security="none",
            user="vine",
            password=SecretStr(PASSWORD),
            sender="vine@example.org",
        ),
        telegram=TelegramSettings(token=SecretStr(TOKEN), base_url=bot.url),
    ) as api:
        yield api


def environment_for(mail: MailServer, bot: Upstream) -> dict[str, str]:
    """The same, for a server that is a process."""
    return {
        "AGENTVINE_EMAIL__HOST": "127.0.0.1",
        "AGENTVINE_EMAIL__PORT": str(mail.port),
        "AGENTVINE_EMAIL__SECURITY": "none",
        "AGENTVINE_EMAIL__USER": "vine",
        "AGENTVINE_EMAIL__PASSWORD": PASSWORD,
        "AGENTVINE_EMAIL__SENDER": "vine@example.org",
        "AGENTVINE_TELEGRAM__TOKEN": TOKEN,
        "AGENTVINE_TELEGRAM__BASE_URL": bot.url,
        "AGENTVINE_NOTIFICATIONS__ATTEMPT_SECONDS": str(HURRIED.attempt_seconds),
        "AGENTVINE_NOTIFICATIONS__LEASE_SECONDS": str(HURRIED.lease_seconds),
        "AGENTVINE_LOG_LEVEL": "DEBUG",
    }


async def tell(database: Database, people: int) -> list[NotificationId]:
    """Write down one notification for each of so many people."""
    async with database.transaction() as tx:
        ids: list[NotificationId] = []
        for number in range(people):
            user = await make_receiver(tx, chat=1000 + number)
            ids += await make_notifications(tx, user)
        return ids


def written_by(bot: Upstream) -> list[Heard]:
    """What the bot was told to write; it also asks what is written to it."""
    return [heard for heard in bot.heard if heard.path.endswith("/sendMessage")]


async def until_settled(database: Database, ids: list[NotificationId]) -> None:
    async def are_settled() -> bool:
        return all(row.next_attempt_at is None for row in await rows_of(database, ids))

    await until(are_settled)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what a server does by itself."""
    async with asyncio.timeout(240):
        while not await is_so():  # noqa: ASYNC110 - another process does it, or the server's chore
            await asyncio.sleep(0.05)


async def everything_in(database: Database) -> str:
    """All rows of all tables, as text."""
    async with database.read() as read:
        found = [(await read.execute(select(table))).all() for table in Base.metadata.sorted_tables]
    return repr(found)


@pytest.fixture
async def outside(database_settings: DatabaseSettings) -> AsyncIterator[Database]:
    """The same database, for who looks at it beside the server."""
    database = await Database.open(database_settings, SystemClock())
    yield database
    await database.close()


@pytest.mark.slow
async def test_all_are_told_though_the_server_is_killed_before_and_after_it_sends(
    database_settings: DatabaseSettings, outside: Database, tmp_path: Path
):
    async with channels() as (mail, bot):
        fleet = Fleet(tmp_path, database_settings, settings=environment_for(mail, bot))
        await fleet.prepare()
        ids = await tell(outside, 4)
        try:
            # Before a letter is told, while it is, and when it was taken and nobody told so.
            for verb in ("GREETING", "RCPT", "TEXT"):
                mail.script = lambda said, _rest, verb=verb: HANG if said == verb else USUAL
                fleet.launch_server()
                await mail.until(lambda server, verb=verb: verb in server.hung, seconds=240)
                fleet.kill(fleet.server)
            mail.script = usual
            await fleet.start_server()
            await until_settled(outside, ids)
        finally:
            fleet.stop()
        copies = Counter(letter.id for letter in mail.letters)
        receivers = {letter.receiver for letter in mail.letters}
        log = (tmp_path / "server.log").read_text(errors="replace")
        rows = await rows_of(outside, ids)
    assert all(row.sent_email and row.sent_telegram for row in rows)
    assert len(copies) == len(receivers) == 4, "a second copy has the id of the first"
    assert max(copies.values()) > 1, "nothing was under way when the server died"
    assert {heard.json["chat_id"] for heard in written_by(bot)} == {1000, 1001, 1002, 1003}
    stored = await everything_in(outside)
    for secret in (PASSWORD, TOKEN, TOKEN.partition(":")[2]):
        assert secret not in log
        assert secret not in stored


async def test_servers_that_tell_at_once_tell_nothing_twice(
    postgres_settings: DatabaseSettings, tmp_path: Path
):
    async with channels() as (mail, bot), AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(
                telling_server(postgres_settings, tmp_path / name, mail, bot, PATIENT)
            )
            for name in ("one", "two")
        ]
        ids: list[NotificationId] = []
        for _ in range(10):
            ids += await tell(servers[0].database, 4)
            for server in servers:
                server.database.hints.publish("notifications")
        await until_settled(servers[0].database, ids)
        rows = await rows_of(servers[0].database, ids)
    assert all(row.sent_email and row.sent_telegram for row in rows)
    assert [row.attempts for row in rows] == [1] * 40
    assert Counter(letter.receiver for letter in mail.letters).most_common(1)[0][1] == 1
    assert (len(mail.letters), len(written_by(bot))) == (40, 40)


async def test_neither_orders_nor_chores_wait_for_a_channel_that_hangs(
    database_settings: DatabaseSettings, tmp_path: Path
):
    async with channels() as (mail, bot):
        mail.script = lambda verb, _rest: HANG if verb == "TEXT" else USUAL
        async with telling_server(database_settings, tmp_path, mail, bot, PATIENT) as api:
            quiet = await times_of_orders(api)
            ids = await tell(api.database, 40)
            api.database.hints.publish("notifications")
            await mail.until(lambda server: server.open == 8)
            since = time.monotonic()
            hanging = await times_of_orders(api)
            supervisor = api.state.effect(Supervisor)
            often = [chore for chore in supervisor.chores if chore.every_seconds <= 10]

            async def all_have_run() -> bool:
                return all(supervisor.last_success[chore.name] > since for chore in often)

            await until(all_have_run)
            rows = await rows_of(api.database, ids)
            still_hanging = mail.open
    assert still_hanging == 8
    assert all(row.sent_telegram and not row.sent_email for row in rows)
    assert len(often) > 10
    # A hanging call would cost 300 seconds; what a busy machine does to a median is far less.
    assert statistics.median(hanging) < 3 * statistics.median(quiet) + 0.25
    assert max(hanging) < 60


async def times_of_orders(api: Api) -> list[float]:
    """How long each of some orders takes from its claim to its end, over HTTP."""
    space = await make_space(api)
    worker = await space.worker()
    seconds: list[float] = []
    for _ in range(15):
        await space.task()
        began = time.monotonic()
        await worker.complete(await worker.claim_one())
        seconds.append(time.monotonic() - began)
    return seconds

"""Opening and closing everything a server needs, in order."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from agentvine.config.settings import Settings, with_secret_key
from agentvine.db.session import Database
from agentvine.domains.executions.log_writing import LogWriter
from agentvine.domains.gateway.advising import ModelAdviser
from agentvine.domains.gateway.doors import ModelDoors
from agentvine.domains.gateway.environment import adopt_environment
from agentvine.domains.gateway.keys import BELIEVED_SECONDS
from agentvine.domains.gateway.limits import ProviderLimits
from agentvine.domains.gateway.probing import ProviderProbe
from agentvine.domains.gateway.relay import Gateway, KeyWatch
from agentvine.domains.gateway.vault import KeyVault
from agentvine.domains.identity import service as identity
from agentvine.domains.identity.last_use import LastUses
from agentvine.domains.identity.service import NewUser
from agentvine.domains.identity.tokens import TokenAuthenticator
from agentvine.domains.planning.answering import ChatDesk
from agentvine.domains.questions.waiting import AnswerRoom
from agentvine.domains.work.beats import Beats
from agentvine.domains.work.jobs import QueueChores
from agentvine.domains.work.listening import Listener
from agentvine.domains.work.reports import Reports
from agentvine.domains.work.settling import CHANNEL as ORDERS
from agentvine.domains.work.shortcuts import Shortcuts
from agentvine.domains.work.waiting import WaitingRoom
from agentvine.domains.workers.last_heard import LastHeard
from agentvine.http.state import HttpState
from agentvine.kit.actor import SystemActor
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.errors import AppError
from agentvine.mcp.door import McpDoor
from agentvine.mcp.tools import TOOLBOX
from agentvine.reactions.routing import build_reactions
from agentvine.reactions.shortcuts import BEAT, PLAIN
from agentvine.server.background import Chore, Supervisor
from agentvine.server.chores import (
    Pools,
    change_chores,
    question_chores,
    queue_chores,
    tidying_chores,
    usage_chores,
)
from agentvine.server.effects import build_effects, open_doors, open_gateway
from agentvine.server.readiness import Readiness

log = structlog.get_logger(__name__)

_STARTUP = SystemActor("startup")
_TURN_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Running:
    """A server's insides while it runs."""

    http: HttpState
    supervisor: Supervisor
    first_admin: NewUser | None
    """Set at the very first start: its password is to be shown once."""


@asynccontextmanager
async def running(
    settings: Settings, *, clock: Clock | None = None
) -> AsyncGenerator[Running, None]:
    """Open the database, make the first admin, run the chores; close it all at the end."""
    settings = with_secret_key(settings)
    database = await Database.open(
        settings.database,
        clock or SystemClock(),
        reactions=build_reactions(settings.queue, settings.zone),
    )
    try:
        first_admin = await _ensure_first_admin(database, settings)
        vault = KeyVault.of(settings.secret_key, settings.providers)
        async with database.transaction(_STARTUP) as tx:
            await adopt_environment(tx, vault)
        queue = QueueChores(database, settings.queue)
        # Nobody could renew a lease while no server ran: everybody gets one more.
        extended = await queue.grant_amnesty()
        log.info("server.leases_extended", count=extended)
        async with _serving(settings, database, queue, vault) as (http, supervisor):
            yield Running(http, supervisor, first_admin)
    finally:
        await database.close()


@asynccontextmanager
async def _serving(
    settings: Settings, database: Database, queue: QueueChores, vault: KeyVault
) -> AsyncGenerator[tuple[HttpState, Supervisor], None]:
    effects, poll = build_effects(settings, database), settings.queue.poll_interval_seconds
    shortcuts = Shortcuts(database, settings.queue, PLAIN)
    room = WaitingRoom(database, settings.queue, shortcuts)
    uses, heard = LastUses(database), LastHeard(database)
    gateway, doors = open_gateway(settings, database, vault), open_doors(settings, database, vault)
    chats, mcp = ChatDesk(database, effects.desk, effects.reader, doors), McpDoor(TOOLBOX)
    pools = Pools.over(settings, database, effects, doors)
    supervisor = Supervisor(
        database,
        database.clock,
        (
            Chore("wake", room.look, every_seconds=poll, channel=ORDERS),
            *queue_chores(settings, database, queue, heard),
            *pools.chores(poll),
            *change_chores(database, effects, poll),
            *question_chores(settings, database, ModelAdviser(database, doors)),
            *usage_chores(settings, database),
            Chore("keys", KeyWatch(gateway).look, every_seconds=BELIEVED_SECONDS),
            *tidying_chores(database, effects, uses, gateway.keeper),
        ),
    )
    http = HttpState(
        database=database,
        settings=settings,
        clock=database.clock,
        authenticator=TokenAuthenticator(database, uses),
        effects={
            **effects.by_class(),
            WaitingRoom: room,
            Reports: Reports(database, settings.queue, shortcuts, ProviderLimits()),
            Beats: Beats(database, settings.queue, BEAT, uses, heard),
            Listener: Listener(database),
            AnswerRoom: AnswerRoom(database, poll),
            LogWriter: LogWriter(database),
            Supervisor: supervisor,
            LastUses: uses,
            Readiness: Readiness(database),
            ProviderProbe: ProviderProbe(database, vault, database.clock),
            Gateway: gateway,
            ModelDoors: doors,
            McpDoor: mcp,
            ChatDesk: chats,
        },
    )
    supervisor.start()
    try:
        yield http, supervisor
    finally:
        http.stopping.set()
        await supervisor.stop()
        await _write_at_last(uses, heard)
        for part in (pools, effects.applier, gateway, chats, doors, mcp):
            await part.close()


async def _write_at_last(*noted: LastUses | LastHeard) -> None:
    for each in noted:
        try:
            await each.write()
        except AppError as error:
            # Only when somebody was last here: a database that is full or gone is no reason not to
            # end in good order.
            log.warning("server.notes_not_written", code=error.code, problem=error.detail)


async def _ensure_first_admin(database: Database, settings: Settings) -> NewUser | None:
    """Make the first admin, once: of several servers that start together, one does."""
    while True:
        async with database.transaction(_STARTUP) as tx:
            if await tx.dialect.try_lock(tx, "first admin"):
                return await identity.ensure_first_admin(tx, bcrypt_rounds=settings.bcrypt_rounds)
        await asyncio.sleep(_TURN_SECONDS)

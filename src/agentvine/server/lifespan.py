"""Opening and closing everything a server needs, in order."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from agentvine.config.settings import Settings, with_secret_key
from agentvine.db.session import Database
from agentvine.domains.agents.jobs import MemoryChore
from agentvine.domains.contexts.jobs import SnapshotChore
from agentvine.domains.conversations.questions import CHANNEL as QUESTIONS
from agentvine.domains.conversations.service import MENTIONS
from agentvine.domains.executions.jobs import ImportChore
from agentvine.domains.executions.log_writing import LogWriter
from agentvine.domains.executions.service import BUNDLES
from agentvine.domains.gateway.advising import ModelAdviser
from agentvine.domains.gateway.bodies import BodyKeeper
from agentvine.domains.gateway.doors import ModelDoors
from agentvine.domains.gateway.environment import adopt_environment
from agentvine.domains.gateway.jobs import GatewayChores
from agentvine.domains.gateway.keys import BELIEVED_SECONDS
from agentvine.domains.gateway.probing import ProviderProbe
from agentvine.domains.gateway.relay import Gateway, KeyWatch
from agentvine.domains.gateway.vault import KeyVault
from agentvine.domains.identity import service as identity
from agentvine.domains.identity.jobs import TidyingChore
from agentvine.domains.identity.last_use import LastUses
from agentvine.domains.identity.service import NewUser
from agentvine.domains.identity.tokens import TokenAuthenticator
from agentvine.domains.mentions.answering import MentionDesk
from agentvine.domains.mentions.jobs import MentionChore
from agentvine.domains.modifications.jobs import ApplyChore
from agentvine.domains.modifications.service import CHANNEL as MODIFICATIONS
from agentvine.domains.modifications.trial_merging import ForesightChore
from agentvine.domains.planning.answering import ChatDesk
from agentvine.domains.planning.jobs import PlanChore
from agentvine.domains.planning.service import CHANNEL as PLANS
from agentvine.domains.questions.advice import AdviceDesk, Adviser
from agentvine.domains.questions.jobs import QuestionChores
from agentvine.domains.questions.waiting import AnswerRoom
from agentvine.domains.tasks.file_jobs import FileChores
from agentvine.domains.tasks.files import CHANNEL as FILES
from agentvine.domains.tasks.jobs import TaskChores
from agentvine.domains.team.desk import TeamDesk
from agentvine.domains.team.jobs import TeamChore
from agentvine.domains.team.queries import plans_of_open_runs
from agentvine.domains.team.service import CHANNEL as TEAM
from agentvine.domains.usage.jobs import UsageChores
from agentvine.domains.usage.purses import CHANNEL as BUDGETS
from agentvine.domains.work.beats import Beats
from agentvine.domains.work.jobs import QueueChores
from agentvine.domains.work.limits import LINES
from agentvine.domains.work.line_jobs import LimitChores
from agentvine.domains.work.listening import Listener
from agentvine.domains.work.reports import Reports
from agentvine.domains.work.settling import CHANNEL as ORDERS
from agentvine.domains.work.shortcuts import Shortcuts
from agentvine.domains.work.waiting import WaitingRoom
from agentvine.http.state import HttpState
from agentvine.kit.actor import SystemActor
from agentvine.kit.clock import Clock, SystemClock
from agentvine.kit.errors import AppError
from agentvine.mcp.door import McpDoor
from agentvine.mcp.tools import TOOLBOX
from agentvine.reactions.routing import build_reactions
from agentvine.reactions.shortcuts import BEAT, PLAIN
from agentvine.server.background import Chore, Supervisor
from agentvine.server.effects import Effects, build_effects, open_doors, open_gateway
from agentvine.server.readiness import Readiness

log = structlog.get_logger(__name__)

_STARTUP = SystemActor("startup")
_TURN_SECONDS = 0.05
_HOUR = 3600.0
_USES_SECONDS = 30.0
_TIDYING_SECONDS = 600.0
_RECONCILE_SECONDS = 60.0
_SNAPSHOT_SECONDS = 30.0


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
    settings: Settings,
    database: Database,
    queue: QueueChores,
    vault: KeyVault,
) -> AsyncGenerator[tuple[HttpState, Supervisor], None]:
    effects, poll = build_effects(settings, database), settings.queue.poll_interval_seconds
    shortcuts = Shortcuts(database, settings.queue, PLAIN)
    room = WaitingRoom(database, settings.queue, shortcuts)
    uses = LastUses(database)
    applying, importing = ApplyChore(effects.applier), ImportChore(effects.importer)
    foresight = ForesightChore(database, effects.desk)
    snapshots = SnapshotChore(effects.snapshots)
    gateway, doors = open_gateway(settings, database, vault), open_doors(settings, database, vault)
    mentions = MentionChore(MentionDesk(database, doors))
    chats, mcp = ChatDesk(database, effects.desk, effects.reader, doors), McpDoor(TOOLBOX)
    team = TeamChore(TeamDesk(database, effects.desk, doors))
    supervisor = Supervisor(
        database,
        database.clock,
        (
            Chore("wake", room.look, every_seconds=poll, channel=ORDERS),
            *_queue_chores(settings, database, queue),
            *_change_chores(effects, applying, importing, poll),
            Chore("foresee", foresight.look, every_seconds=10 * poll),
            Chore("contexts", snapshots.run, every_seconds=_SNAPSHOT_SECONDS),
            Chore("mentions", mentions.run, every_seconds=5 * poll, channel=MENTIONS),
            Chore("attachments", effects.attachments.collect, every_seconds=_HOUR),
            *_question_chores(settings, database, ModelAdviser(database, doors)),
            *_usage_chores(settings, database),
            Chore("team", team.run, every_seconds=poll, channel=TEAM),
            Chore("keys", KeyWatch(gateway).look, every_seconds=BELIEVED_SECONDS),
            *_tidying_chores(database, uses, gateway.keeper),
            Chore("sources", effects.facts.forget, every_seconds=_TIDYING_SECONDS),
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
            Reports: Reports(database, settings.queue, shortcuts),
            Beats: Beats(database, settings.queue, BEAT, uses),
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
        await _write_at_last(uses)
        for part in (
            mentions,
            snapshots,
            team,
            applying,
            importing,
            effects.applier,
            gateway,
            chats,
            doors,
            mcp,
        ):
            await part.close()


async def _write_at_last(uses: LastUses) -> None:
    try:
        await uses.write()
    except AppError as error:
        # Only when tokens were last used: a database that is full or gone is no reason not to end
        # in good order.
        log.warning("server.uses_not_written", code=error.code, problem=error.detail)


def _queue_chores(settings: Settings, database: Database, queue: QueueChores) -> tuple[Chore, ...]:
    tasks, limits = TaskChores(database), LimitChores(database)
    files = FileChores(database, settings.queue)
    plans = PlanChore(database, held=plans_of_open_runs())
    poll = settings.queue.poll_interval_seconds
    return (
        Chore("rescue", queue.rescue, every_seconds=poll),
        Chore("unblock", tasks.unblock, every_seconds=5 * poll),
        Chore("files", files.let_go, every_seconds=10 * poll, channel=FILES),
        Chore("held files", files.tidy, every_seconds=_RECONCILE_SECONDS),
        Chore("plans", plans.run, every_seconds=5 * poll, channel=PLANS),
        Chore("expire", queue.expire, every_seconds=5 * poll),
        Chore("stranded", queue.end_stranded, every_seconds=5 * poll),
        Chore("lines", limits.straighten, every_seconds=10 * poll, channel=LINES),
        Chore("limits", limits.reconcile, every_seconds=_RECONCILE_SECONDS),
        Chore("offline", queue.mark_offline, every_seconds=settings.queue.heartbeat_seconds),
    )


def _change_chores(
    effects: Effects, applying: ApplyChore, importing: ImportChore, poll: float
) -> tuple[Chore, ...]:
    return (
        Chore("apply", applying.run, every_seconds=poll, channel=MODIFICATIONS),
        Chore("import", importing.run, every_seconds=5 * poll, channel=BUNDLES),
        Chore("tidy", effects.desk.tidy, every_seconds=_HOUR, deadline_seconds=_HOUR),
    )


def _tidying_chores(database: Database, uses: LastUses, keeper: BodyKeeper) -> tuple[Chore, ...]:
    return (
        Chore("bodies", keeper.forget, every_seconds=_TIDYING_SECONDS),
        Chore("uses", uses.write, every_seconds=_USES_SECONDS),
        Chore("forget", TidyingChore(database).run, every_seconds=_TIDYING_SECONDS),
        Chore("memories", MemoryChore(database).run, every_seconds=_TIDYING_SECONDS),
    )


def _usage_chores(settings: Settings, database: Database) -> tuple[Chore, ...]:
    usage, keys = UsageChores(database, settings.zone), GatewayChores(database)
    poll = settings.queue.poll_interval_seconds
    return (
        Chore("calls", usage.expire, every_seconds=5 * poll),
        Chore("budgets", usage.resume, every_seconds=10 * poll, channel=BUDGETS),
        Chore("key limits", keys.clear_limits, every_seconds=10 * poll),
    )


def _question_chores(settings: Settings, database: Database, adviser: Adviser) -> tuple[Chore, ...]:
    desk = AdviceDesk(database, adviser, settings.questions.advice_seconds)
    chores, poll = QuestionChores(database, desk), settings.queue.poll_interval_seconds
    return (
        Chore("answers", chores.expire, every_seconds=poll),
        Chore("left over", chores.close, every_seconds=5 * poll),
        Chore("advice", chores.advise, every_seconds=poll, channel=QUESTIONS),
    )


async def _ensure_first_admin(database: Database, settings: Settings) -> NewUser | None:
    """Make the first admin, once: of several servers that start together, one does."""
    while True:
        async with database.transaction(_STARTUP) as tx:
            if await tx.dialect.try_lock(tx, "first admin"):
                return await identity.ensure_first_admin(tx, bcrypt_rounds=settings.bcrypt_rounds)
        await asyncio.sleep(_TURN_SECONDS)

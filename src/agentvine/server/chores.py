"""What a server does by itself, again and again."""

from dataclasses import dataclass
from datetime import timedelta

from agentvine.config.settings import Settings
from agentvine.db.session import Database
from agentvine.domains.agents.jobs import MemoryChore
from agentvine.domains.contexts.jobs import SnapshotChore
from agentvine.domains.conversations.questions import CHANNEL as QUESTIONS
from agentvine.domains.conversations.service import MENTIONS
from agentvine.domains.executions.jobs import ImportChore
from agentvine.domains.executions.service import BUNDLES
from agentvine.domains.gateway.bodies import BodyKeeper
from agentvine.domains.gateway.doors import ModelDoors
from agentvine.domains.gateway.holding import HoldingChores
from agentvine.domains.gateway.jobs import GatewayChores
from agentvine.domains.gateway.upstreams import KEYS
from agentvine.domains.identity.jobs import TidyingChore
from agentvine.domains.identity.last_use import LastUses
from agentvine.domains.mentions.answering import MentionDesk
from agentvine.domains.mentions.jobs import MentionChore
from agentvine.domains.modifications.jobs import ApplyChore
from agentvine.domains.modifications.service import CHANNEL as MODIFICATIONS
from agentvine.domains.modifications.trial_merging import ForesightChore
from agentvine.domains.notifications.channels.telegram import TelegramBot
from agentvine.domains.notifications.jobs import ForgettingChore, SendingChore
from agentvine.domains.planning.jobs import PlanChore
from agentvine.domains.planning.service import CHANNEL as PLANS
from agentvine.domains.projects.service import DELETED
from agentvine.domains.questions.advice import AdviceDesk, Adviser
from agentvine.domains.questions.hearing import HearingChore
from agentvine.domains.questions.jobs import QuestionChores
from agentvine.domains.tasks.file_jobs import FileChores
from agentvine.domains.tasks.files import CHANNEL as FILES
from agentvine.domains.tasks.jobs import TaskChores
from agentvine.domains.team.desk import TeamDesk
from agentvine.domains.team.jobs import TeamChore
from agentvine.domains.team.queries import plans_of_open_runs
from agentvine.domains.team.service import CHANNEL as TEAM
from agentvine.domains.usage.jobs import UsageChores
from agentvine.domains.usage.purses import CHANNEL as BUDGETS
from agentvine.domains.work.jobs import QueueChores
from agentvine.domains.work.limits import LINES
from agentvine.domains.work.line_jobs import LimitChores
from agentvine.domains.workers.last_heard import LastHeard
from agentvine.server.background import Chore
from agentvine.server.effects import Effects

_HOUR = 3600.0
_USES_SECONDS = 30.0
_TIDYING_SECONDS = 600.0
_RECONCILE_SECONDS = 60.0
_SNAPSHOT_SECONDS = 30.0
_STRANDED_SECONDS = 60.0
"""It looks at every order that waits; whoever deletes something says so."""


@dataclass(frozen=True, slots=True)
class Pools:
    """The chores whose work goes on beside them, several pieces at once."""

    applying: ApplyChore
    importing: ImportChore
    snapshots: SnapshotChore
    mentions: MentionChore
    team: TeamChore
    sending: SendingChore
    hearing: HearingChore | None
    """Where the server has a bot to hear."""

    @classmethod
    def over(
        cls, settings: Settings, database: Database, effects: Effects, doors: ModelDoors
    ) -> "Pools":
        """Those of a server."""
        hold = timedelta(seconds=settings.queue.lease_seconds / 2)
        return cls(
            applying=ApplyChore(effects.applier),
            importing=ImportChore(effects.importer),
            snapshots=SnapshotChore(effects.snapshots),
            mentions=MentionChore(MentionDesk(database, doors)),
            team=TeamChore(TeamDesk(database, effects.desk, effects.reader, doors, hold)),
            sending=SendingChore.over(settings, database),
            hearing=HearingChore(database, TelegramBot(settings.telegram))
            if settings.telegram.is_on
            else None,
        )

    def chores(self, poll: float) -> tuple[Chore, ...]:
        """What the supervisor runs of them."""
        chat = self.hearing
        heard = [Chore("chat", chat.run, every_seconds=5 * poll)] if chat is not None else []
        return (
            *heard,
            Chore("apply", self.applying.run, every_seconds=poll, channel=MODIFICATIONS),
            Chore("import", self.importing.run, every_seconds=5 * poll, channel=BUNDLES),
            Chore("contexts", self.snapshots.run, every_seconds=_SNAPSHOT_SECONDS),
            Chore("mentions", self.mentions.run, every_seconds=5 * poll, channel=MENTIONS),
            Chore("team", self.team.run, every_seconds=poll, channel=TEAM),
            Chore("notifications", self.sending.run, every_seconds=5 * poll),
        )

    async def close(self) -> None:
        """Give up what is under way: whoever runs next takes it up again."""
        for pool in (
            *(self.applying, self.importing, self.snapshots),
            *(self.mentions, self.team, self.sending),
        ):
            await pool.close()
        if self.hearing is not None:
            await self.hearing.close()


def queue_chores(
    settings: Settings, database: Database, queue: QueueChores, heard: LastHeard
) -> tuple[Chore, ...]:
    """Level-triggered upkeep of orders, tasks, files, plans and limits."""
    tasks, limits = TaskChores(database), LimitChores(database)
    files = FileChores(database, settings.queue)
    plans = PlanChore(database, held=plans_of_open_runs())
    poll, beat = settings.queue.poll_interval_seconds, settings.queue.heartbeat_seconds
    return (
        Chore("rescue", queue.rescue, every_seconds=poll),
        Chore("unblock", tasks.unblock, every_seconds=5 * poll),
        Chore("files", files.let_go, every_seconds=10 * poll, channel=FILES),
        Chore("held files", files.tidy, every_seconds=_RECONCILE_SECONDS),
        Chore("plans", plans.run, every_seconds=5 * poll, channel=PLANS),
        Chore("expire", queue.expire, every_seconds=5 * poll),
        Chore("stranded", queue.end_stranded, every_seconds=_STRANDED_SECONDS, channel=DELETED),
        Chore("lines", limits.straighten, every_seconds=10 * poll, channel=LINES),
        Chore("limits", limits.reconcile, every_seconds=_RECONCILE_SECONDS),
        # So often that no worker looks silent for a lease, which is two beats or more.
        Chore("heard", heard.write, every_seconds=beat / 4),
        Chore("offline", queue.mark_offline, every_seconds=beat),
    )


def change_chores(database: Database, effects: Effects, poll: float) -> tuple[Chore, ...]:
    """Upkeep of what is foreseen of changes, and of the places where they are made."""
    foresight = ForesightChore(database, effects.desk)
    return (
        Chore("foresee", foresight.look, every_seconds=10 * poll),
        Chore("tidy", effects.desk.tidy, every_seconds=_HOUR, deadline_seconds=_HOUR),
        Chore("attachments", effects.attachments.collect, every_seconds=_HOUR),
    )


def tidying_chores(
    database: Database, effects: Effects, uses: LastUses, keeper: BodyKeeper
) -> tuple[Chore, ...]:
    """Forgetting what nobody needs any more."""
    return (
        Chore("bodies", keeper.forget, every_seconds=_TIDYING_SECONDS),
        Chore("uses", uses.write, every_seconds=_USES_SECONDS),
        Chore("forget", TidyingChore(database).run, every_seconds=_TIDYING_SECONDS),
        Chore("notifications read", ForgettingChore(database).run, every_seconds=_TIDYING_SECONDS),
        Chore("memories", MemoryChore(database).run, every_seconds=_TIDYING_SECONDS),
        Chore("sources", effects.facts.forget, every_seconds=_TIDYING_SECONDS),
    )


def usage_chores(settings: Settings, database: Database) -> tuple[Chore, ...]:
    """Calls nobody settled, and work that waits for its budget."""
    usage, keys = UsageChores(database, settings.zone), GatewayChores(database)
    held = HoldingChores(database)
    poll = settings.queue.poll_interval_seconds
    return (
        Chore("calls", usage.expire, every_seconds=5 * poll),
        Chore("budgets", usage.resume, every_seconds=10 * poll, channel=BUDGETS),
        Chore("key limits", keys.clear_limits, every_seconds=10 * poll),
        Chore("held orders", held.look, every_seconds=poll, channel=KEYS),
    )


def question_chores(settings: Settings, database: Database, adviser: Adviser) -> tuple[Chore, ...]:
    """Questions whose time is over, whose run is gone, or that a model may answer."""
    desk = AdviceDesk(database, adviser, settings.questions.advice_seconds)
    chores, poll = QuestionChores(database, desk), settings.queue.poll_interval_seconds
    return (
        Chore("answers", chores.expire, every_seconds=poll),
        Chore("left over", chores.close, every_seconds=5 * poll),
        Chore("advice", chores.advise, every_seconds=poll, channel=QUESTIONS),
    )

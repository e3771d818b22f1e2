"""The chore that tells people outside of AgentVine what they have to know.

It may run on several servers at once, and be killed between any two statements: rows are taken by a
lease, and what was sent is written down afterwards. The chore itself never waits for a network;
what is under way goes on beside it.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import structlog

from agentvine.config.channels import NotificationSettings
from agentvine.config.settings import Settings
from agentvine.db.session import Database
from agentvine.domains.notifications import outbox
from agentvine.domains.notifications.channels.mail import MailSender
from agentvine.domains.notifications.channels.port import Later, Outcome, Sender
from agentvine.domains.notifications.channels.telegram import TelegramBot, TelegramSender
from agentvine.domains.notifications.enums import Channel
from agentvine.domains.notifications.lines import Line
from agentvine.domains.notifications.outbox import Batch
from agentvine.kit.actor import SystemActor
from agentvine.kit.errors import Unavailable

_ACTOR = SystemActor("notifications")
_MOST_UNDER_WAY = 500
_GRACE_SECONDS = 2.0
_AGAIN_SECONDS = 0.5
_KEPT_SECONDS = 90 * 86400.0
_MOST_FORGOTTEN = 1000

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Course:
    """A batch on its way, and what has become of it so far."""

    batch: Batch
    outcomes: dict[Channel, Outcome] = field(default_factory=dict[Channel, Outcome])
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class ForgettingChore:
    """Forgets what people have read long ago."""

    database: Database

    async def run(self) -> int:
        """One bounded step. Returns how many notifications were forgotten."""
        async with self.database.transaction(_ACTOR) as tx:
            return await outbox.forget_read(tx, _KEPT_SECONDS, _MOST_FORGOTTEN)


class SendingChore:
    """Sends what is due, over the channels that are set up."""

    def __init__(
        self, database: Database, settings: NotificationSettings, senders: Iterable[Sender]
    ) -> None:
        """Prepare; a channel without a sender is off."""
        self._database = database
        self._settings = settings
        self._lines = {
            sender.channel: Line(sender, database.clock, settings.attempt_seconds)
            for sender in senders
        }
        self._under_way: set[asyncio.Task[None]] = set()

    @classmethod
    def over(cls, settings: Settings, database: Database) -> Self:
        """That of a server, with the channels that its operator has set up."""
        senders: list[Sender] = []
        if settings.email.is_on:
            senders.append(MailSender(settings.email, database.clock))
        if settings.telegram.is_on:
            senders.append(TelegramSender(TelegramBot(settings.telegram)))
        return cls(database, settings.notifications, senders)

    async def run(self) -> int:
        """One bounded step. Returns how many notifications were taken; they go by themselves."""
        room = _MOST_UNDER_WAY - len(self._under_way)
        async with self._database.read() as read:
            if room <= 0 or not await outbox.is_any_due(read):
                return 0
        # Before the lease begins: what begins by then is over before it ends.
        by = self._database.clock.monotonic() + self._settings.lease_seconds
        by -= self._settings.attempt_seconds
        async with self._database.transaction(_ACTOR) as tx:
            batches, count = await outbox.take_due(tx, self._settings, self._lines, room)
        for batch in batches:
            task = asyncio.create_task(self._deliver(batch, by), name="notifications")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return count

    async def close(self) -> None:
        """Wait a moment for what is under way, and give up the rest: its lease ends by itself."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=_GRACE_SECONDS)
        left = list(self._under_way)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for line in self._lines.values():
            await line.sender.close()

    async def _deliver(self, batch: Batch, by: float) -> None:
        course = _Course(batch)
        try:
            async with asyncio.TaskGroup() as group:
                for channel in batch.parcels:
                    group.create_task(self._send(course, channel, by))
        except Exception:  # the boundary of a job: its lease ends, and it goes again
            log.exception("notification.not_noted")

    async def _send(self, course: _Course, channel: Channel, by: float) -> None:
        parcel = course.batch.parcels[channel]
        try:
            outcome = await self._lines[channel].send(parcel.address, parcel.letter, by)
        except Exception as error:  # the boundary of a job: a bug of one channel stops no other
            log.exception("notification.not_sent", channel=channel.value)
            outcome = Later(f"A bug: {type(error).__name__}", is_sure=False)
        # What one channel has done is written down at once, however long another one takes.
        async with course.turn:
            course.outcomes[channel] = outcome
            await self._note(course, by)

    async def _note(self, course: _Course, by: float) -> None:
        is_all = course.outcomes.keys() == course.batch.parcels.keys()
        while True:
            try:
                async with self._database.transaction(_ACTOR) as tx:
                    gave_up = await outbox.note_outcomes(
                        tx, self._settings, course.batch, course.outcomes, is_all=is_all
                    )
                break
            except Unavailable as error:
                # Forgotten, it would be sent again; after the lease that is what happens.
                if self._database.clock.monotonic() > by:
                    log.warning("notification.not_noted", code=error.code, problem=error.detail)
                    return
            await asyncio.sleep(_AGAIN_SECONDS)
        for channel, ids in gave_up.items():
            log.warning(
                "notification.gave_up",
                channel=channel.value,
                reason=getattr(course.outcomes[channel], "reason", ""),
                notifications=[str(each) for each in ids],
            )

"""Which notifications are due, who has taken them, and what became of them.

A row is due while ``next_attempt_at`` is in the past. Whoever takes it moves that into the future,
by a lease, in a short transaction that waits for no network. What its holder cannot finish is due
again by itself: nothing is lost, and what was sent just before may be sent again.

``attempts`` is the fence: it tells the lease by which a row was taken from every later one. Rows
whose last lease ended without a word are *in doubt*: they may have been sent. They go again in the
company in which they went, which makes the same letter, so that a second copy is recognised as one.
Whatever surely was not sent goes together with what has come since.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import delete, select, update

from agentvine.config.channels import NotificationSettings
from agentvine.db.base import table_of
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.identity.enums import UserId
from agentvine.domains.identity.models import User
from agentvine.domains.notifications.channels.port import (
    Later,
    Letter,
    Never,
    Outcome,
    Sent,
    Waiting,
)
from agentvine.domains.notifications.composing import compose
from agentvine.domains.notifications.enums import Channel, NotificationId
from agentvine.domains.notifications.models import Notification
from agentvine.domains.notifications.preferences import CHANNELS_KEY, channels_for
from agentvine.kit.documents import as_mapping

_MOST_ROWS = 1000
_CAP_SECONDS = 3600.0
_DAY_SECONDS = 86400.0
_SETTLED = "settled_attempt"
"""In a row's metadata: the last attempt of which it is known what became of it."""

Outcomes = Mapping[Channel, Outcome]


@dataclass(frozen=True, slots=True)
class Parcel:
    """What goes to a person over one channel."""

    address: str
    letter: Letter
    ids: frozenset[NotificationId]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one person is told at once, held by a lease."""

    parcels: Mapping[Channel, Parcel]
    attempts: Mapping[NotificationId, int]
    """The fence of each row."""
    old: frozenset[NotificationId]
    """Those that are tried for the last time."""
    is_in_doubt: bool
    """Whether it may have been sent already: then it stays together until it surely was."""


async def is_any_due(read: ReadSession) -> bool:
    """Whether there is something to look at."""
    table = table_of(Notification)
    query = select(table.c.id).where(table.c.next_attempt_at <= read.dialect.now_sql())
    # In order, so that it is the index that is walked: for one row of many, a database without
    # statistics would rather read the table, of which none may be due.
    query = query.order_by(table.c.next_attempt_at).limit(1)
    return (await read.execute(query)).first() is not None


async def take_due(
    tx: Transaction, settings: NotificationSettings, on: Iterable[Channel], most_people: int
) -> tuple[list[Batch], int]:
    """Take what is due, for so many people at most, over the channels that are on.

    Returns:
        What is to be sent, and how many rows were looked after.
    """
    query = (
        select(Notification)
        .where(Notification.next_attempt_at <= tx.dialect.now_sql())
        .order_by(Notification.next_attempt_at)
        .limit(_MOST_ROWS)
    )
    by_user = defaultdict[UserId, list[Notification]](list)
    for row in await tx.scalars(tx.dialect.for_update_skip_locked(query)):
        by_user[row.user_id].append(row)
    chosen = {user_id: _company(due) for user_id, due in list(by_user.items())[:most_people]}
    old = await _old_among(tx, settings, [row.id for rows in chosen.values() for row in rows])
    batches: list[Batch] = []
    idle: list[NotificationId] = []
    for user in await tx.scalars(select(User).where(User.id.in_(list(chosen)))):
        _say_what_is_off(user, chosen[user.id], frozenset(on))
        batch, nowhere = _batch_of(user, chosen[user.id], frozenset(on), old)
        idle += nowhere
        if batch is not None:
            batches.append(batch)
    held = [each for batch in batches for each in batch.attempts]
    await _lease(tx, held, settings.lease_seconds)
    await _settle(tx, idle)
    return batches, len(held) + len(idle)


async def note_outcomes(
    tx: Transaction,
    settings: NotificationSettings,
    batch: Batch,
    outcomes: Outcomes,
    *,
    is_all: bool,
) -> dict[Channel, list[NotificationId]]:
    """Write down what became of a batch so far; the lease ends when that is all.

    May be told the same again. Returns what was given up now.
    """
    query = select(Notification).where(Notification.id.in_(list(batch.attempts)))
    rows = list(await tx.scalars(query.order_by(Notification.id).with_for_update()))
    gave_up = defaultdict[Channel, list[NotificationId]](list)
    for row in rows:
        for channel, outcome in outcomes.items():
            if row.id in batch.parcels[channel].ids and _note(row, channel, outcome, batch.old):
                gave_up[channel].append(row.id)
    if is_all:
        await _end_lease(tx, settings, batch, outcomes, rows)
    return gave_up


async def forget_read(tx: Transaction, seconds: float, most: int) -> int:
    """Remove what was read, is to be sent nowhere any more, and is so old; how many."""
    table = table_of(Notification)
    old = (
        select(table.c.id)
        .where(
            table.c.created_at < tx.dialect.seconds_from_now(-seconds),
            table.c.is_read.is_(True),
            table.c.next_attempt_at.is_(None),
        )
        .order_by(table.c.created_at)
        .limit(most)
    )
    ids = list(await tx.scalars(old))
    if ids:
        await tx.execute(delete(table).where(table.c.id.in_(ids)))
    return len(ids)


async def _old_among(
    tx: Transaction, settings: NotificationSettings, ids: Sequence[NotificationId]
) -> frozenset[NotificationId]:
    """Those that have been tried for long enough, by the database's clock."""
    table = table_of(Notification)
    horizon = tx.dialect.seconds_from_now(-settings.give_up_days * _DAY_SECONDS)
    query = select(table.c.id).where(table.c.id.in_(ids), table.c.created_at < horizon)
    return frozenset(await tx.scalars(query)) if ids else frozenset()


def _company(due: Sequence[Notification]) -> list[Notification]:
    """Those of a person's rows that go now: the first company in doubt, else all."""
    doubtful = [row for row in due if _is_in_doubt(row)]
    if not doubtful:
        return list(due)
    # One lease ends at one instant.
    return [row for row in doubtful if row.next_attempt_at == doubtful[0].next_attempt_at]


def _is_in_doubt(row: Notification) -> bool:
    return row.attempts > 0 and _facts(row).get(_SETTLED) != row.attempts


def _batch_of(
    user: User,
    rows: Sequence[Notification],
    on: frozenset[Channel],
    old: frozenset[NotificationId],
) -> tuple[Batch | None, list[NotificationId]]:
    """What is to be sent of some rows, and those of which nothing is."""
    ways = {row.id: _pending(row, channels_for(user, row) & on) for row in rows}
    parcels: dict[Channel, Parcel] = {}
    for channel in on:
        going = [row for row in rows if channel in ways[row.id]]
        if going:
            ids = frozenset(row.id for row in going)
            parcels[channel] = Parcel(_address(user, channel), compose(going), ids)
    nowhere = [row.id for row in rows if not ways[row.id]]
    if not parcels:
        return None, nowhere
    attempts = {row.id: row.attempts + 1 for row in rows if ways[row.id]}
    is_in_doubt = any(_is_in_doubt(row) for row in rows)
    return Batch(parcels, attempts, old & attempts.keys(), is_in_doubt), nowhere


def _say_what_is_off(user: User, rows: Sequence[Notification], on: frozenset[Channel]) -> None:
    """Tell who named a channel, to try it, that it is not set up. Nobody else is told."""
    for row in rows:
        if CHANNELS_KEY in _facts(row):
            for channel in _pending(row, channels_for(user, row) - on):
                _note(row, channel, Never(_OFF[channel]), frozenset())


_OFF = {
    Channel.EMAIL: "The server has no mail server: AGENTVINE_EMAIL__HOST is not set.",
    Channel.TELEGRAM: "The server has no Telegram bot: AGENTVINE_TELEGRAM__TOKEN is not set.",
}


def _pending(row: Notification, wanted: Iterable[Channel]) -> frozenset[Channel]:
    """Over which of these channels a row may still be sent."""
    is_sent = {Channel.EMAIL: row.sent_email, Channel.TELEGRAM: row.sent_telegram}
    return frozenset(
        channel
        for channel in wanted
        if not is_sent[channel] and not _delivery(row).get(channel.value, {}).get("gave_up")
    )


def _address(user: User, channel: Channel) -> str:
    return user.email if channel is Channel.EMAIL else str(user.telegram_chat_id)


def _delivery(row: Notification) -> dict[str, dict[str, Any]]:
    delivery: object = _facts(row).get("delivery")
    if not isinstance(delivery, Mapping):
        return {}
    told = cast("Mapping[str, object]", delivery)
    return {
        name: cast("dict[str, Any]", each) for name, each in told.items() if isinstance(each, dict)
    }


def _facts(row: Notification) -> dict[str, Any]:
    """Its metadata; a script that writes SQL may have left it out, or put anything there."""
    return dict(as_mapping(row.metadata_))


async def _lease(tx: Transaction, ids: Sequence[NotificationId], seconds: float) -> None:
    table = table_of(Notification)
    values = {
        "next_attempt_at": tx.dialect.seconds_from_now(seconds),
        "attempts": table.c.attempts + 1,
    }
    await _change(tx, ids, values)


async def _settle(tx: Transaction, ids: Sequence[NotificationId]) -> None:
    await _change(tx, ids, {"next_attempt_at": None})


async def _change(
    tx: Transaction, ids: Sequence[NotificationId], values: Mapping[str, Any]
) -> None:
    if ids:
        table = table_of(Notification)
        await tx.execute(update(table).where(table.c.id.in_(ids)).values(**values))


def _note(
    row: Notification, channel: Channel, outcome: Outcome, old: frozenset[NotificationId]
) -> bool:
    """Write one outcome into a row. Returns whether it was given up now."""
    delivery = _delivery(row)
    before = delivery.pop(channel.value, None)
    is_given_up = False
    match outcome:
        case Sent():
            setattr(row, _SENT[channel], True)
        case Never(reason=reason) | Later(reason=reason):
            is_given_up = isinstance(outcome, Never) or row.id in old
            delivery[channel.value] = {"error": reason, "gave_up": is_given_up}
        case Waiting():
            return False
    row.metadata_ = {**_facts(row), "delivery": delivery}
    return is_given_up and not (before or {}).get("gave_up")


_SENT = {Channel.EMAIL: "sent_email", Channel.TELEGRAM: "sent_telegram"}


async def _end_lease(
    tx: Transaction,
    settings: NotificationSettings,
    batch: Batch,
    outcomes: Outcomes,
    rows: Sequence[Notification],
) -> None:
    """Say when each row is looked at next: never, where nothing of it is left to be sent."""
    ours = [row for row in rows if row.attempts == batch.attempts[row.id]]
    is_sure = not batch.is_in_doubt and all(
        each.is_sure for each in outcomes.values() if isinstance(each, Later)
    )
    left, done = defaultdict[int, list[NotificationId]](list), list[NotificationId]()
    for row in ours:
        ways = [channel for channel, parcel in batch.parcels.items() if row.id in parcel.ids]
        if not _pending(row, ways):
            done.append(row.id)
            continue
        # What is in doubt stays together, so it has one instant.
        left[row.attempts if is_sure else max(batch.attempts.values())].append(row.id)
        if is_sure:
            row.metadata_ = {**_facts(row), _SETTLED: row.attempts}
    await tx.flush()  # what follows are statements of their own
    await _settle(tx, done)
    spread = random.uniform(0.8, 1.2)  # noqa: S311  # spreads load, hides nothing
    for attempts, ids in left.items():
        pause = _pause(settings, attempts, outcomes.values()) * spread
        due = {"next_attempt_at": tx.dialect.seconds_from_now(min(pause, _CAP_SECONDS))}
        await _change(tx, ids, due)


def _pause(settings: NotificationSettings, attempts: int, outcomes: Iterable[Outcome]) -> float:
    """How long to wait, by the channel that may be tried first."""
    usual = min(_CAP_SECONDS, settings.retry_base_seconds * 2.0 ** min(attempts - 1, 32))
    pauses = [
        outcome.seconds
        if isinstance(outcome, Waiting)
        else max(usual, outcome.after_seconds or 0.0)
        for outcome in outcomes
        if isinstance(outcome, Later | Waiting)
    ]
    return min(pauses, default=usual)

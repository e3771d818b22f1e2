"""Commands of the notifications slice: tell people, note what they have read and what they want."""

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select, update

from agentvine.db.base import table_of
from agentvine.db.session import Transaction
from agentvine.domains.identity import history
from agentvine.domains.identity import queries as identity
from agentvine.domains.identity.models import User
from agentvine.domains.notifications import queries
from agentvine.domains.notifications.enums import Channel, NotificationType, Severity
from agentvine.domains.notifications.errors import ChannelUnreachable
from agentvine.domains.notifications.models import Notification
from agentvine.domains.notifications.preferences import (
    CHANNELS_KEY,
    reachable_channels,
    set_wanted,
    wanted_channels,
)
from agentvine.kit.actor import UserActor
from agentvine.kit.ids import new_id
from agentvine.protocol.notifications import PreferencesIn, TestIn

CHANNEL = "notifications"
"""Hints when something is to be sent."""

_MAX_TITLE = 200
_MAX_MESSAGE = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What people are to know of one event: facts and what acts on them, no secrets."""

    type: NotificationType
    key: str
    """Names the event among those of its type: handled twice, it is told once."""
    severity: Severity
    title: str
    message: str
    entity: tuple[str, uuid.UUID]
    """Kind and id of the row that it is about."""
    project_id: uuid.UUID | None = None
    channels: frozenset[Channel] | None = None
    """Goes over these, whatever its receivers prefer; None: as they prefer."""


async def notify(tx: Transaction, notice: Notice, recipients: Collection[User]) -> None:
    """Tell people of an event, each of them once: one statement, and nothing is sent here.

    Whoever knows of it already is passed over.
    """
    if not recipients:
        return
    is_to_be_sent = {user.id: bool(_channels(notice, user)) for user in recipients}
    rows = [
        _row(tx, notice, user, is_to_be_sent=is_to_be_sent[user.id])
        # In one order everywhere, so that two that tell of the same event do not block each other.
        for user in sorted(recipients, key=lambda user: user.id)
    ]
    insert = tx.dialect.upsert(table_of(Notification), rows, keys=("user_id", "key"))
    await tx.execute(insert)
    if any(is_to_be_sent.values()):
        tx.hint(CHANNEL)


async def send_test(tx: Transaction, actor: UserActor, wanted: TestIn) -> Notification:
    """Make a notification for oneself that goes over the channels named, or all that reach one.

    Raises:
        ChannelUnreachable: One cannot be reached by a channel that is named, or by any.
    """
    user = await identity.get_user(tx, actor.user_id)
    reachable = reachable_channels(user)
    named = frozenset(wanted.channels) or reachable
    missing = sorted(named - reachable)
    if missing or not named:
        raise ChannelUnreachable(
            "There is nowhere to send it. Mail needs a real address, which an admin sets; Telegram "
            "a chat: `agentvine notification link`.",
            channels=missing,
        )
    over = ", ".join(sorted(named))
    test_id = new_id()
    notice = Notice(
        type=NotificationType.TEST,
        key=str(test_id),
        severity=Severity.INFO,
        title="A test of AgentVine",
        message=f"You have asked for this over {over}. If you can read it there, it works.",
        entity=("user", user.id),
        channels=named,
    )
    await notify(tx, notice, [user])
    found = await tx.scalar(select(Notification).where(Notification.key == _key(notice)))
    assert found is not None, "its key is new"
    return found


async def mark_read(tx: Transaction, actor: UserActor, notification_id: uuid.UUID) -> Notification:
    """Note that somebody has read what they were told. A repeat changes nothing.

    Raises:
        NotificationNotFound: There is none, or it is somebody else's.
    """
    found = await queries.get_notification(tx, actor, notification_id)
    found.is_read = True
    await tx.flush()
    return found


async def mark_all_read(tx: Transaction, actor: UserActor) -> None:
    """Note that somebody has read everything they were told."""
    await tx.execute(
        update(Notification)
        .where(Notification.user_id == actor.user_id, Notification.is_read.is_(False))
        .values(is_read=True)
        .execution_options(synchronize_session=False)
    )


async def set_preferences(tx: Transaction, actor: UserActor, change: PreferencesIn) -> User:
    """Change how much one wants to be told, and where."""
    user = await identity.lock_user(tx, actor.user_id)
    given = change.model_dump(exclude_unset=True)
    before = queries.preferences_out(user).model_dump(mode="json", include=set(given))
    set_wanted(user, {each: given[each.value] for each in Channel if each.value in given})
    if "telegram_chat_id" in given:
        user.telegram_chat_id = change.telegram_chat_id
    history.record(
        tx,
        "user.notifications",
        entity=("user", user.id),
        before=before,
        after=change.model_dump(mode="json", exclude_unset=True),
    )
    await tx.flush()
    return user


def _channels(notice: Notice, user: User) -> frozenset[Channel]:
    if notice.channels is not None:
        return notice.channels & reachable_channels(user)
    return wanted_channels(user, notice.severity)


def _row(tx: Transaction, notice: Notice, user: User, *, is_to_be_sent: bool) -> dict[str, Any]:
    entity_type, entity_id = notice.entity
    about: dict[str, Any] = {
        "related_entity_type": entity_type,
        "related_entity_id": str(entity_id),
    }
    if notice.channels is not None:
        about[CHANNELS_KEY] = sorted(notice.channels)
    return {
        "id": new_id(),
        "type": notice.type.value,
        "key": _key(notice),
        "severity": notice.severity,
        "title": notice.title[:_MAX_TITLE],
        "message": notice.message[:_MAX_MESSAGE],
        "user_id": user.id,
        "project_id": notice.project_id,
        "next_attempt_at": tx.dialect.now_sql() if is_to_be_sent else None,
        "metadata": about,
    }


def _key(notice: Notice) -> str:
    return f"{notice.type.value}:{notice.key}"

"""Reads of the notifications slice: everybody reads their own, and nobody else's."""

import uuid
from collections.abc import Mapping

from sqlalchemy import func, select

from agentvine.db.paging import fetch_page
from agentvine.db.session import ReadSession
from agentvine.domains.identity import queries as identity
from agentvine.domains.identity.models import User
from agentvine.domains.notifications.enums import Channel
from agentvine.domains.notifications.errors import NotificationNotFound
from agentvine.domains.notifications.models import Notification
from agentvine.domains.notifications.preferences import wanted_of
from agentvine.kit.actor import UserActor
from agentvine.kit.documents import as_mapping
from agentvine.kit.pagination import Page, PageRequest
from agentvine.protocol.notifications import (
    DeliveryOut,
    NotificationOut,
    PreferencesOut,
    RelatedOut,
)


async def list_notifications(
    read: ReadSession, actor: UserActor, page: PageRequest, *, is_unread: bool = False
) -> Page[Notification]:
    """What somebody was told, newest first."""
    query = select(Notification).where(Notification.user_id == actor.user_id)
    if is_unread:
        query = query.where(Notification.is_read.is_(False))
    return await fetch_page(read, query, Notification.id, page, newest_first=True)


async def count_unread(read: ReadSession, actor: UserActor) -> int:
    """How much somebody has not read yet."""
    query = select(func.count()).where(
        Notification.user_id == actor.user_id, Notification.is_read.is_(False)
    )
    return await read.scalar(query) or 0


async def get_notification(
    read: ReadSession, actor: UserActor, notification_id: uuid.UUID
) -> Notification:
    """One thing that somebody was told.

    Raises:
        NotificationNotFound: There is none, or it is somebody else's.
    """
    found = await read.scalar(
        select(Notification).where(
            Notification.id == notification_id, Notification.user_id == actor.user_id
        )
    )
    if found is None:
        raise NotificationNotFound(f"None of your notifications has the id {notification_id}.")
    return found


async def get_preferences(read: ReadSession, actor: UserActor) -> PreferencesOut:
    """What somebody wants to be told, and where."""
    return preferences_out(await identity.get_user(read, actor.user_id))


def preferences_out(user: User) -> PreferencesOut:
    """What somebody wants to be told, as clients see it."""
    wanted = wanted_of(user)
    return PreferencesOut(
        email=wanted[Channel.EMAIL],
        email_address=user.email,
        telegram=wanted[Channel.TELEGRAM],
        telegram_chat_id=user.telegram_chat_id,
    )


def notification_out(row: Notification) -> NotificationOut:
    """A notification as clients see it."""
    about = as_mapping(row.metadata_)
    return NotificationOut(
        id=row.id,
        type=row.type,
        title=row.title,
        message=row.message,
        severity=row.severity,
        project_id=row.project_id,
        agent_id=row.agent_id,
        related=_related(about),
        is_read=row.is_read,
        sent_email=row.sent_email,
        sent_telegram=row.sent_telegram,
        attempts=row.attempts,
        next_attempt_at=row.next_attempt_at,
        delivery=_deliveries(about.get("delivery")),
        created_at=row.created_at,
    )


def _related(about: Mapping[str, object]) -> RelatedOut | None:
    kind, entity_id = about.get("related_entity_type"), about.get("related_entity_id")
    if not isinstance(kind, str) or not isinstance(entity_id, str):
        return None
    return RelatedOut(entity_type=kind, entity_id=entity_id)


def _deliveries(stored: object) -> dict[Channel, DeliveryOut]:
    of_channel = as_mapping(stored)
    found = {channel: as_mapping(of_channel.get(channel.value)) for channel in Channel}
    return {
        channel: DeliveryOut(error=str(said.get("error", "")), gave_up=said.get("gave_up") is True)
        for channel, said in found.items()
        if said
    }

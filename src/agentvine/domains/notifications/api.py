"""Routes of the notifications slice: what one was told, and how one wants to be told."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends

from agentvine.domains.notifications import linking, queries, service
from agentvine.domains.notifications.errors import (
    ChannelUnreachable,
    NotificationNotFound,
    TelegramOff,
)
from agentvine.http.deps import Paging, Read, State, Tx, require
from agentvine.http.problems import responses
from agentvine.kit.actor import UserActor
from agentvine.protocol.base import PageOut
from agentvine.protocol.notifications import (
    ChatCodeOut,
    NotificationOut,
    PreferencesIn,
    PreferencesOut,
    TestIn,
    UnreadOut,
)

router = APIRouter(tags=["notifications"])

NotificationReader = Annotated[UserActor, Depends(require("notifications:read"))]
# Viewers too: what they were told, and how, is their own.
NotificationOwner = Annotated[UserActor, Depends(require("notifications:own"))]


@router.get("/notifications")
async def list_notifications(
    actor: NotificationReader, read: Read, page: Paging, *, unread: bool = False
) -> PageOut[NotificationOut]:
    """What you were told, newest first; with ``unread`` only what you have not read."""
    found = await queries.list_notifications(read, actor, page, is_unread=unread)
    items = [queries.notification_out(row) for row in found.items]
    return PageOut(items=items, next_cursor=found.next_cursor)


@router.get("/notifications/unread")
async def count_unread(actor: NotificationReader, read: Read) -> UnreadOut:
    """How much you have not read."""
    return UnreadOut(unread=await queries.count_unread(read, actor))


@router.post("/notifications/read")
async def mark_all_read(actor: NotificationOwner, tx: Tx) -> UnreadOut:
    """Note that you have read everything."""
    await service.mark_all_read(tx, actor)
    return UnreadOut(unread=await queries.count_unread(tx, actor))


@router.get("/notifications/preferences")
async def get_preferences(actor: NotificationReader, read: Read) -> PreferencesOut:
    """What you want to be told over which channel, and where."""
    return await queries.get_preferences(read, actor)


@router.patch("/notifications/preferences")
async def set_preferences(body: PreferencesIn, actor: NotificationOwner, tx: Tx) -> PreferencesOut:
    """Say what you want to be told over which channel, and in which chat."""
    return queries.preferences_out(await service.set_preferences(tx, actor, body))


@router.post("/notifications/test", status_code=202, responses=responses(ChannelUnreachable))
async def send_test(body: TestIn, actor: NotificationOwner, tx: Tx) -> NotificationOut:
    """Send yourself a test over the channels named, or over all that reach you.

    Read the notification again to see what became of it.
    """
    return queries.notification_out(await service.send_test(tx, actor, body))


@router.post("/notifications/telegram-code", status_code=201, responses=responses(TelegramOff))
async def make_telegram_code(actor: NotificationOwner, tx: Tx, state: State) -> ChatCodeOut:
    """A code that proves a Telegram chat to be yours: send the bot ``/start CODE`` from there.

    What you write there then answers what agents ask. It is good once, for a quarter of an hour.
    """
    if not state.settings.telegram.is_on:
        raise TelegramOff("Whoever runs the server sets AGENTVINE_TELEGRAM__TOKEN.")
    return await linking.make_code(tx, actor)


@router.get("/notifications/{notification_id}", responses=responses(NotificationNotFound))
async def get_notification(
    notification_id: uuid.UUID, actor: NotificationReader, read: Read
) -> NotificationOut:
    """One thing that you were told, and how far it was sent."""
    return queries.notification_out(await queries.get_notification(read, actor, notification_id))


@router.post("/notifications/{notification_id}/read", responses=responses(NotificationNotFound))
async def mark_read(
    notification_id: uuid.UUID, actor: NotificationOwner, tx: Tx
) -> NotificationOut:
    """Note that you have read it."""
    return queries.notification_out(await service.mark_read(tx, actor, notification_id))

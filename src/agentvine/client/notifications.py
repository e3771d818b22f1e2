"""Notifications: what one was told, and how one wants to be told."""

import uuid

from agentvine.client.pages import Listing
from agentvine.client.transport import Transport, edit, get, post
from agentvine.protocol.base import PageOut
from agentvine.protocol.notifications import (
    ChatCodeOut,
    NotificationOut,
    PreferencesIn,
    PreferencesOut,
    TestIn,
    UnreadOut,
)


class NotificationsApi:
    """``notifications/``: one's own, and nobody else's."""

    def __init__(self, transport: Transport) -> None:
        """Use the client's connections."""
        self._transport = transport

    def list(self, *, unread: bool = False) -> Listing[NotificationOut]:
        """What one was told, newest first; perhaps only what was not read."""
        params = {"unread": True} if unread else {}
        return Listing(self._transport, "notifications", params, PageOut[NotificationOut])

    async def get(self, notification_id: uuid.UUID) -> NotificationOut:
        """One of them, and how far it was sent."""
        return await self._transport.fetch(get(f"notifications/{notification_id}"), NotificationOut)

    async def unread(self) -> int:
        """How many one has not read."""
        return (await self._transport.fetch(get("notifications/unread"), UnreadOut)).unread

    async def mark_read(self, notification_id: uuid.UUID) -> NotificationOut:
        """Note that one has read it."""
        call = post(f"notifications/{notification_id}/read", is_repeatable=True)
        return await self._transport.fetch(call, NotificationOut)

    async def mark_all_read(self) -> int:
        """Note that one has read everything; how many are unread then."""
        call = post("notifications/read", is_repeatable=True)
        return (await self._transport.fetch(call, UnreadOut)).unread

    async def preferences(self) -> PreferencesOut:
        """What one wants to be told over which channel, and where."""
        return await self._transport.fetch(get("notifications/preferences"), PreferencesOut)

    async def set_preferences(self, body: PreferencesIn) -> PreferencesOut:
        """Change what is set in the body."""
        call = edit("notifications/preferences", body, None)
        return await self._transport.fetch(call, PreferencesOut)

    async def telegram_code(self) -> ChatCodeOut:
        """What proves a Telegram chat to be one's own, once."""
        call = post("notifications/telegram-code")
        return await self._transport.fetch(call, ChatCodeOut)

    async def test(self, body: TestIn) -> NotificationOut:
        """Send oneself a test."""
        return await self._transport.fetch(post("notifications/test", body), NotificationOut)

"""Errors of the notifications slice."""

from agentvine.kit.errors import Conflict, NotFound


class NotificationNotFound(NotFound):
    """You were told nothing by this id."""

    code = "notification_not_found"


class ChannelUnreachable(Conflict):
    """You cannot be reached over this channel yet."""

    code = "channel_unreachable"


class TelegramOff(Conflict):
    """The server has no Telegram bot."""

    code = "telegram_off"

"""What a person wants to be told over which channel, as their settings say."""

import re
from collections.abc import Mapping

from agentvine.domains.identity.models import User
from agentvine.domains.notifications.enums import Channel, Severity, Wanted
from agentvine.domains.notifications.models import Notification
from agentvine.kit.documents import as_mapping

CHANNELS_KEY = "channels"
"""In a notification's metadata: the channels it goes over, whatever its receiver prefers."""

_SETTING = "notifications"
# With a dot: the first admin's ``admin@localhost`` is a placeholder.
_ADDRESS = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_NO_HOSTS = (".invalid", ".localhost")


def wanted_of(user: User) -> dict[Channel, Wanted]:
    """How much somebody wants to be told over each channel; what is important, if they never said.

    What cannot be understood counts as never said.
    """
    stored = as_mapping(as_mapping(user.settings).get(_SETTING))
    return {channel: _wanted(stored.get(channel.value)) for channel in Channel}


def set_wanted(user: User, wanted: Mapping[Channel, Wanted]) -> None:
    """Write down how much somebody wants to be told; other settings stay as they are."""
    now = {**wanted_of(user), **wanted}
    said = {channel.value: value.value for channel, value in now.items()}
    user.settings = {**as_mapping(user.settings), _SETTING: said}


def reachable_channels(user: User) -> frozenset[Channel]:
    """Over which channels somebody can be told anything at all; none for who is not active."""
    if not user.is_active:
        return frozenset()
    found = set[Channel]()
    if is_address(user.email):
        found.add(Channel.EMAIL)
    if user.telegram_chat_id is not None:
        found.add(Channel.TELEGRAM)
    return frozenset(found)


def wanted_channels(user: User, severity: Severity) -> frozenset[Channel]:
    """Over which channels somebody wants to be told what is so urgent, and can be."""
    wanted = wanted_of(user)
    return frozenset(
        channel for channel in reachable_channels(user) if wanted[channel].includes(severity)
    )


def channels_for(user: User, notification: Notification) -> frozenset[Channel]:
    """Over which channels a notification goes, as its receiver's settings are now.

    One that names its channels goes over those, where its receiver can be reached.
    """
    named = as_mapping(notification.metadata_).get(CHANNELS_KEY)
    if isinstance(named, list):
        return frozenset(each for each in reachable_channels(user) if each.value in named)
    return wanted_channels(user, notification.severity)


def is_address(text: str) -> bool:
    """Whether mail can go there at all."""
    return _ADDRESS.fullmatch(text) is not None and not text.lower().endswith(_NO_HOSTS)


def _wanted(said: object) -> Wanted:
    return next((each for each in Wanted if each.value == said), Wanted.IMPORTANT)

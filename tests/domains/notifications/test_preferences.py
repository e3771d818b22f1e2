"""Who is told what over which channel, as their settings say."""

from typing import Any

import pytest

from agentvine.domains.identity.models import User
from agentvine.domains.notifications.enums import Channel, Severity, Wanted
from agentvine.domains.notifications.models import Notification
from agentvine.domains.notifications.preferences import (
    CHANNELS_KEY,
    channels_for,
    is_address,
    reachable_channels,
    set_wanted,
    wanted_channels,
    wanted_of,
)

BOTH = frozenset(Channel)
NONE = frozenset[Channel]()


def person(
    *,
    settings: dict[str, Any] | None = None,
    email: str = "ann@example.org",
    chat: int | None = 7,
    is_active: bool = True,
) -> User:
    return User(
        username="ann", email=email, telegram_chat_id=chat, settings=settings, is_active=is_active
    )


def of(email: str, telegram: str) -> dict[str, Any]:
    return {"notifications": {"email": email, "telegram": telegram}}


def test_who_never_said_is_told_what_is_important() -> None:
    for settings in (None, {}, {"notifications": None}, of("loud", "")):
        somebody = person(settings=settings)
        assert wanted_channels(somebody, Severity.INFO) == NONE
        assert wanted_channels(somebody, Severity.WARNING) == BOTH
        assert wanted_channels(somebody, Severity.CRITICAL) == BOTH


@pytest.mark.parametrize("severity", Severity)
def test_each_channel_follows_its_own_setting(severity: Severity) -> None:
    assert wanted_channels(person(settings=of("all", "none")), severity) == {Channel.EMAIL}
    assert wanted_channels(person(settings=of("none", "all")), severity) == {Channel.TELEGRAM}
    assert wanted_channels(person(settings=of("none", "none")), severity) == NONE


def test_nobody_is_told_where_they_cannot_be_reached() -> None:
    everything = of("all", "all")
    unreachable = person(settings=everything, email="admin@localhost", chat=None)
    assert wanted_channels(unreachable, Severity.CRITICAL) == NONE
    assert reachable_channels(person(chat=None)) == {Channel.EMAIL}
    assert reachable_channels(person(email="admin@localhost")) == {Channel.TELEGRAM}
    assert wanted_channels(person(settings=everything, is_active=False), Severity.CRITICAL) == NONE


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("ann@example.org", True),
        ("ann+tag@mail.example.org", True),
        ("admin@localhost", False),
        ("ann@mail.localhost", False),
        ("ann@gone.INVALID", False),
        ("ann@example.", False),
        ("ann@.org", False),
        ("ann@example.org\nBcc: all@example.org", False),
        ("a nn@example.org", False),
        ("ann@bob@example.org", False),
        ("", False),
    ],
)
def test_mail_goes_to_addresses_alone(text: str, is_one: bool) -> None:
    assert is_address(text) is is_one


def test_other_settings_stay_when_preferences_are_written() -> None:
    somebody = person(settings={"theme": "dark", **of("all", "none")})
    set_wanted(somebody, {Channel.TELEGRAM: Wanted.IMPORTANT})
    assert somebody.settings == {"theme": "dark", **of("all", "important")}
    assert wanted_of(somebody) == {
        Channel.EMAIL: Wanted.ALL,
        Channel.TELEGRAM: Wanted.IMPORTANT,
    }


def test_what_names_its_channels_goes_over_those_that_reach_somebody() -> None:
    note = Notification(severity=Severity.INFO, metadata_={CHANNELS_KEY: ["email"]})
    assert channels_for(person(settings=of("none", "all")), note) == {Channel.EMAIL}
    assert channels_for(person(email="admin@localhost"), note) == NONE
    note.metadata_ = {}
    assert channels_for(person(settings=of("none", "all")), note) == {Channel.TELEGRAM}

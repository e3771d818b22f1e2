"""A channel that is set up by half is told at the start; one that is not is off."""

import pytest

from agentvine.config.settings import SettingsError, load_settings

TOKEN = "123456789:AA" + "c" * 33
WHOLE = {
    "AGENTVINE_EMAIL__HOST": "smtp.example.org",
    "AGENTVINE_EMAIL__SENDER": "Vine <vine@example.org>",
    "AGENTVINE_EMAIL__USER": "vine",
    "AGENTVINE_EMAIL__PASSWORD": "canary-password",
    "AGENTVINE_TELEGRAM__TOKEN": TOKEN,
}


def load(monkeypatch: pytest.MonkeyPatch, **changes: str | None):
    for name, value in (
        WHOLE | {f"AGENTVINE_{key}": text for key, text in changes.items()}
    ).items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    return load_settings()


def test_without_settings_both_channels_are_off():
    settings = load_settings()
    assert not settings.email.is_on
    assert not settings.telegram.is_on


def test_what_is_whole_is_on_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch):
    settings = load(monkeypatch)
    assert settings.email.is_on
    assert settings.telegram.is_on
    assert (settings.email.port, settings.email.security) == (587, "starttls")
    assert settings.email.sender_parts == ("Vine", "vine@example.org")
    assert "canary" not in repr(settings)
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"EMAIL__HOST": None}, "without AGENTVINE_EMAIL__HOST"),
        ({"EMAIL__SENDER": None}, "AGENTVINE_EMAIL__SENDER is missing"),
        ({"EMAIL__PASSWORD": None}, "AGENTVINE_EMAIL__PASSWORD go together"),
        ({"EMAIL__USER": None}, "AGENTVINE_EMAIL__PASSWORD go together"),
        ({"EMAIL__SECURITY": "none"}, "would send the password readable"),
        ({"EMAIL__SENDER": "vine"}, "AGENTVINE_EMAIL__SENDER: not one address"),
        ({"EMAIL__SENDER": "a@b.c\nBcc: e@f.g"}, "AGENTVINE_EMAIL__SENDER: not one address"),
        ({"EMAIL__SENDER": "a@b.c, d@e.f"}, "AGENTVINE_EMAIL__SENDER: not one address"),
        ({"EMAIL__HOST": "smtp://mail"}, "AGENTVINE_EMAIL__HOST: a host's name"),
        ({"TELEGRAM__TOKEN": "canary-token"}, "AGENTVINE_TELEGRAM__TOKEN is no bot's token"),
        (
            {"TELEGRAM__TOKEN": None, "TELEGRAM__BASE_URL": "http://localhost:1"},
            "AGENTVINE_TELEGRAM",
        ),
        ({"TELEGRAM__BASE_URL": "localhost"}, "AGENTVINE_TELEGRAM__BASE_URL: no address"),
        ({"TELEGRAM__BASE_URL": "http://u:p@localhost"}, "AGENTVINE_TELEGRAM__BASE_URL"),
        ({"NOTIFICATIONS__LEASE_SECONDS": "10"}, "at most half of lease_seconds"),
    ],
)
def test_what_is_half_is_refused_by_name_without_its_secrets(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str | None], told: str
):
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, **changes)
    assert told in caught.value.detail
    assert "canary" not in caught.value.detail
    assert TOKEN not in caught.value.detail


def test_a_mail_server_on_the_same_machine_needs_no_encryption(monkeypatch: pytest.MonkeyPatch):
    for host in ("localhost", "127.0.0.1", "::1"):
        settings = load(monkeypatch, EMAIL__HOST=host, EMAIL__SECURITY="none")
        assert settings.email.security == "none"

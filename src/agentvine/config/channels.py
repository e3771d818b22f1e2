"""Settings of the channels by which people are told what they have to know.

Where a message goes first is the operator's to say, here and nowhere else: whoever uses AgentVine
names the person's own address or chat, never a server.
"""

import ipaddress
import re
from email.utils import getaddresses, parseaddr
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
"""What mail can be written to: nothing that a header or a mail server reads otherwise."""
_BOT_TOKEN = re.compile(r"\d{1,20}:[A-Za-z0-9_-]{20,100}")
_HOST = re.compile(r"[A-Za-z0-9._-]*|[0-9A-Fa-f:.]+")
_BASE_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")
_TELEGRAM = "https://api.telegram.org"


class NotificationSettings(BaseModel):
    """How notifications are sent, whatever the channel."""

    model_config = ConfigDict(frozen=True)

    attempt_seconds: float = Field(default=10.0, gt=0, le=300)
    """How long one message may take to be handed over; a server that hangs costs no more."""
    lease_seconds: float = Field(default=60.0, gt=0, le=3600)
    """How long a server that has taken notifications keeps them to itself; when it dies, they are
    sent by another, or after its start, when this is over. At least twice as long as an attempt."""
    retry_base_seconds: float = Field(default=15.0, gt=0)
    """The pause after the first failure; it doubles with each, up to an hour."""
    give_up_days: float = Field(default=3.0, gt=0, le=365)
    """For how long a notification is tried again."""

    @model_validator(mode="after")
    def _an_attempt_fits_in_the_lease(self) -> Self:
        if self.attempt_seconds * 2 > self.lease_seconds:
            raise ValueError("attempt_seconds must be at most half of lease_seconds")
        return self


class EmailSettings(BaseModel):
    """The mail server that takes our messages; without a host no mail is sent."""

    model_config = ConfigDict(frozen=True)

    host: str = ""
    """The mail server, like smtp.example.org."""
    port: int = Field(default=587, ge=1, le=65535)
    """Its port: 587 with ``starttls``, 465 with ``tls``, as a rule."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """How the connection is encrypted: after a greeting, from the beginning, or not at all."""
    user: str = ""
    """Who signs in there; nobody when not set."""
    password: SecretStr = SecretStr("")
    """The password of the user."""
    sender: str = ""
    """Whom messages are from: an address, or ``AgentVine <agentvine@example.org>``."""

    @property
    def is_on(self) -> bool:
        """Whether mail is sent."""
        return bool(self.host)

    @property
    def sender_parts(self) -> tuple[str, str]:
        """Name (may be empty) and address of the sender."""
        return parseaddr(self.sender)

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, host: str) -> str:
        if not _HOST.fullmatch(host):
            raise ValueError("a host's name or address, like smtp.example.org; no URL, no port")
        return host

    @field_validator("sender")
    @classmethod
    def _is_one_address(cls, sender: str) -> str:
        if not sender:
            return sender
        found = [address for _, address in getaddresses([sender])]
        is_one = len(found) == 1 and MAIL_ADDRESS.fullmatch(found[0])
        if not is_one or not sender.isprintable():
            raise ValueError("not one address, like AgentVine <agentvine@example.org>")
        return sender

    @model_validator(mode="after")
    def _is_whole_or_absent(self) -> Self:
        password = self.password.get_secret_value()
        if not self.host:
            if self.sender or self.user or password:
                raise ValueError("no mail is sent without AGENTVINE_EMAIL__HOST, the mail server")
            return self
        if not self.sender:
            raise ValueError("AGENTVINE_EMAIL__SENDER is missing: whom messages are from")
        if bool(self.user) != bool(password):
            raise ValueError(
                "AGENTVINE_EMAIL__USER and AGENTVINE_EMAIL__PASSWORD go together; leave out both "
                "for a mail server that asks nobody to sign in"
            )
        if password and self.security == "none" and not _is_here(self.host):
            raise ValueError(
                "AGENTVINE_EMAIL__SECURITY=none would send the password readable through the "
                "network; take starttls or tls"
            )
        return self


class TelegramSettings(BaseModel):
    """The Telegram bot that writes to people; without a token it writes to nobody."""

    model_config = ConfigDict(frozen=True)

    token: SecretStr = SecretStr("")
    """The bot's token, as @BotFather tells it."""
    base_url: str = _TELEGRAM
    """Where the Bot API is: Telegram's own, or a Bot API server that you run."""

    @property
    def is_on(self) -> bool:
        """Whether messages are sent."""
        return bool(self.token.get_secret_value())

    @field_validator("base_url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if not _BASE_URL.fullmatch(url):
            raise ValueError("no address, like https://api.telegram.org")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _is_whole_or_absent(self) -> Self:
        token = self.token.get_secret_value()
        if token and not _BOT_TOKEN.fullmatch(token):
            raise ValueError("AGENTVINE_TELEGRAM__TOKEN is no bot's token, like 123456:ABC-DEF...")
        if not token and self.base_url != _TELEGRAM:
            raise ValueError("no message is sent without AGENTVINE_TELEGRAM__TOKEN, the bot's")
        return self


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

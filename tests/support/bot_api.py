"""Telegram's Bot API on loopback, as far as a bot that writes and hears needs it."""

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from agentvine.config.channels import TelegramSettings
from tests.support.upstream import Heard, Reply, Upstream, running_upstream

BOT_TOKEN = "123456789:AAcanary-canary-canary-canary-canar"
_numbers = itertools.count(700)


@dataclass
class BotApi:
    """Keeps what people write until the bot has said that it heard it, and what the bot writes."""

    updates: list[dict[str, Any]] = field(default_factory=list)
    said: list[tuple[int, str]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    refusal: Reply | None = None
    """Said instead of updates."""
    upstream: Upstream | None = None

    @property
    def settings(self) -> TelegramSettings:
        assert self.upstream is not None
        return TelegramSettings(token=SecretStr(BOT_TOKEN), base_url=self.upstream.url)

    def write(
        self, writer: int, text: Any, /, *, reply_to: str | None = None, **message: Any
    ) -> None:
        """Somebody writes to the bot, perhaps in reply to something that it has written."""
        shown = {"chat": {"id": writer, "type": "private"}, "from": {"id": writer}, "text": text}
        if reply_to is not None:
            shown["reply_to_message"] = {"from": {"id": 1, "is_bot": True}, "text": reply_to}
        self.updates.append({"update_id": next(_numbers), "message": shown | message})

    def heard_by(self, chat: int) -> list[str]:
        """What the bot has written into a chat."""
        return [text for where, text in self.said if where == chat]

    def answer(self, heard: Heard) -> Reply:
        """As Telegram does."""
        assert heard.path.startswith(f"/bot{BOT_TOKEN}/"), heard.path
        method = heard.path.rpartition("/")[2]
        if method == "sendMessage":
            self.said.append((heard.json["chat_id"], heard.json["text"]))
            return _good({"message_id": len(self.said)})
        assert method == "getUpdates", method
        self.asked.append(heard.json)
        if self.refusal is not None:
            return self.refusal
        self.updates = [each for each in self.updates if each["update_id"] >= heard.json["offset"]]
        return _good(self.updates[: heard.json["limit"]])


@asynccontextmanager
async def running_bot_api() -> AsyncIterator[BotApi]:
    """Telegram, with nobody who has written anything yet."""
    api = BotApi()
    async with running_upstream(api.answer) as api.upstream:
        yield api


def _good(result: Any) -> Reply:
    return Reply([json.dumps({"ok": True, "result": result}).encode()])

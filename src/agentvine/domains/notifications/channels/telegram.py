"""A Telegram bot, over the Bot API: what it writes, and what is written to it.

The token is part of every address that is called. No address is therefore told or logged, and what
the other side or a library says is cleaned of it.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httpx2

from agentvine.config.channels import TelegramSettings
from agentvine.domains.notifications.channels.port import Later, Letter, Never, Outcome, Sent, plain
from agentvine.domains.notifications.enums import Channel
from agentvine.kit.documents import as_mapping
from agentvine.kit.errors import Unavailable
from agentvine.kit.guards import assert_no_transaction
from agentvine.kit.redaction import Redactor

_MAX_UNITS = 4096
"""The longest message, counted as Telegram does: in units of UTF-16."""
_CUT = "\n..."
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_UPDATE_BYTES = 4 * 1024 * 1024
_MOST_UPDATES = 50
_PATIENCE_SECONDS = 20.0
"""For the answer to a question that Telegram was to wait with."""
_MAX_PAUSE_SECONDS = 3600.0
_CONNECT_SHARE = 0.8
"""Which part of the time finding the server may take: who was never reached took nothing."""
_UNREACHED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
_FOR_GOOD = {400, 403}
"""The chat is unknown, the bot was blocked or thrown out, or the message is refused."""
_NO_BOT = {401, 404}
"""The token is no bot's, or no Bot API is there."""
_BUSY = 429


class BotFailed(Unavailable):
    """The Telegram bot does not work just now."""

    code = "bot_failed"


@dataclass(slots=True)
class TelegramBot:
    """The bot itself: bounded requests, and its token in nothing that is told."""

    settings: TelegramSettings
    _http: httpx2.AsyncClient | None = field(default=None, init=False, repr=False)

    async def ask(
        self, method: str, message: Mapping[str, Any], seconds: float, most: int = _MAX_ANSWER_BYTES
    ) -> tuple[int, Mapping[str, Any]]:
        """Call a method: the status, and the object that was answered, if it was one.

        Raises:
            httpx2.HTTPError: No answer came.
        """
        if self._http is None:
            self._http = httpx2.AsyncClient(follow_redirects=False)
        token = self.settings.token.get_secret_value()
        request = self._http.build_request(
            "POST",
            f"{self.settings.base_url}/bot{token}/{method}",
            json=message,
            timeout=httpx2.Timeout(seconds, connect=seconds * _CONNECT_SHARE),
        )
        response = await self._http.send(request, stream=True)
        try:
            body = b""
            async for part in response.aiter_bytes():
                body += part
                if len(body) > most:
                    break
        finally:
            await response.aclose()
        return response.status_code, _object(body)

    async def updates(self, offset: int, wait_seconds: float) -> list[Mapping[str, Any]]:
        """What people have written to the bot since, waiting for it so long; each has its number.

        Raises:
            BotFailed: Telegram is not reached, refuses us, or lets somebody else hear.
        """
        wanted = {
            "offset": offset,
            "timeout": int(wait_seconds),
            "limit": _MOST_UPDATES,
            "allowed_updates": ["message"],
        }
        seconds = wait_seconds + _PATIENCE_SECONDS
        try:
            async with asyncio.timeout(seconds):
                status, told = await self.ask("getUpdates", wanted, seconds, _MAX_UPDATE_BYTES)
        except (httpx2.HTTPError, TimeoutError) as error:
            raise BotFailed(f"Telegram is not reached: {self.said(error)}") from None
        found: object = told.get("result")
        if status != 200 or not isinstance(found, list):
            raise BotFailed(self.reason(status, told), retry_after=_pause(told))
        updates = [as_mapping(each) for each in cast("list[object]", found)]
        return [each for each in updates if isinstance(each.get("update_id"), int)]

    async def say(self, chat_id: int, text: str, seconds: float) -> tuple[int, Mapping[str, Any]]:
        """Write to a chat, as plain text.

        Raises:
            httpx2.HTTPError: No answer came.
            TimeoutError: It took too long.
        """
        message = {
            "chat_id": chat_id,
            "text": cut_for_telegram(text),
            "link_preview_options": {"is_disabled": True},
        }
        async with asyncio.timeout(seconds):
            return await self.ask("sendMessage", message, seconds)

    async def close(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    def reason(self, status: int, told: Mapping[str, Any]) -> str:
        """Why something was refused, as Telegram says it."""
        description = told.get("description")
        said = description if isinstance(description, str) else "no reason"
        return plain(self._clean(f"Telegram answered {status}: {said}"))

    def said(self, error: Exception) -> str:
        """What a library says of a failure."""
        return plain(self._clean(f"{type(error).__name__} {error}".strip()))

    def _clean(self, text: str) -> str:
        return Redactor([self.settings.token.get_secret_value()]).clean(text)


@dataclass(slots=True)
class TelegramSender:
    """Writes to chats."""

    bot: TelegramBot
    channel: Channel = field(default=Channel.TELEGRAM, init=False)

    async def send(self, address: str, letter: Letter, seconds: float) -> Outcome:
        """Write to a chat, by its number."""
        assert_no_transaction("write by Telegram")
        text = f"{letter.subject}\n\n{letter.text}"
        try:
            status, told = await self.bot.say(int(address), text, seconds)
        except _UNREACHED as error:
            reason = f"Telegram is not reached: {self.bot.said(error)}"
            return Later(reason, is_for_all=True)
        except (httpx2.HTTPError, TimeoutError) as error:
            # It may have been taken, and the answer lost.
            return Later(f"Telegram did not answer: {self.bot.said(error)}", is_sure=False)
        return self._judge(status, told)

    async def close(self) -> None:
        """Close the connections."""
        await self.bot.close()

    def _judge(self, status: int, told: Mapping[str, Any]) -> Outcome:
        if status == 200 and told.get("ok") is True:
            return Sent()
        reason = self.bot.reason(status, told)
        if status in _FOR_GOOD:
            return Never(reason)
        if status == _BUSY:
            return Later(reason, after_seconds=_pause(told))
        return Later(reason, is_for_all=status in _NO_BOT)


def cut_for_telegram(text: str) -> str:
    """As much of a text as one message may hold."""
    if _units(text) <= _MAX_UNITS:
        return text
    room = _MAX_UNITS - _units(_CUT)
    # No letter takes more than two units, and half of one says nothing.
    return text.encode("utf-16-le")[: 2 * room].decode("utf-16-le", "ignore") + _CUT


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _pause(told: Mapping[str, Any]) -> float | None:
    seconds: object = as_mapping(told.get("parameters")).get("retry_after")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return min(_MAX_PAUSE_SECONDS, max(0.0, float(seconds)))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        told: object = json.loads(body)
    except ValueError:
        return {}
    return as_mapping(told)

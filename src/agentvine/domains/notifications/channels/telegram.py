"""Messages by a Telegram bot, over the Bot API.

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
from agentvine.kit.guards import assert_no_transaction
from agentvine.kit.redaction import Redactor

_MAX_UNITS = 4096
"""The longest message, counted as Telegram does: in units of UTF-16."""
_CUT = "\n..."
_MAX_ANSWER_BYTES = 64 * 1024
_MAX_PAUSE_SECONDS = 3600.0
_CONNECT_SHARE = 0.8
"""Which part of the time finding the server may take: who was never reached took nothing."""
_UNREACHED = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError)
_FOR_GOOD = {400, 403}
"""The chat is unknown, the bot was blocked or thrown out, or the message is refused."""
_NO_BOT = {401, 404}
"""The token is no bot's, or no Bot API is there."""
_BUSY = 429


@dataclass(slots=True)
class TelegramSender:
    """Writes to chats."""

    settings: TelegramSettings
    channel: Channel = field(default=Channel.TELEGRAM, init=False)
    _http: httpx2.AsyncClient | None = field(default=None, init=False, repr=False)

    async def send(self, address: str, letter: Letter, seconds: float) -> Outcome:
        """Write to a chat, by its number."""
        assert_no_transaction("write by Telegram")
        message = {
            "chat_id": int(address),
            "text": cut_for_telegram(f"{letter.subject}\n\n{letter.text}"),
            "link_preview_options": {"is_disabled": True},
        }
        try:
            async with asyncio.timeout(seconds):
                status, body = await self._ask("sendMessage", message, seconds)
        except _UNREACHED as error:
            reason = f"Telegram is not reached: {self._said(error)}"
            return Later(reason, is_for_all=True)
        except (httpx2.HTTPError, TimeoutError) as error:
            # It may have been taken, and the answer lost.
            return Later(f"Telegram did not answer: {self._said(error)}", is_sure=False)
        return self._judge(status, body)

    async def close(self) -> None:
        """Close the connections."""
        http, self._http = self._http, None
        if http is not None:
            await http.aclose()

    async def _ask(
        self, method: str, message: Mapping[str, Any], seconds: float
    ) -> tuple[int, bytes]:
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
                if len(body) > _MAX_ANSWER_BYTES:
                    break
        finally:
            await response.aclose()
        return response.status_code, body

    def _judge(self, status: int, body: bytes) -> Outcome:
        told = _object(body)
        if status == 200 and told.get("ok") is True:
            return Sent()
        description = told.get("description")
        said = description if isinstance(description, str) else "no reason"
        reason = plain(self._clean(f"Telegram answered {status}: {said}"))
        if status in _FOR_GOOD:
            return Never(reason)
        if status == _BUSY:
            return Later(reason, after_seconds=_pause(told))
        return Later(reason, is_for_all=status in _NO_BOT)

    def _said(self, error: Exception) -> str:
        return plain(self._clean(f"{type(error).__name__} {error}".strip()))

    def _clean(self, text: str) -> str:
        return Redactor([self.settings.token.get_secret_value()]).clean(text)


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
    parameters: object = told.get("parameters")
    if not isinstance(parameters, Mapping):
        return None
    seconds = cast("Mapping[str, object]", parameters).get("retry_after")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return min(_MAX_PAUSE_SECONDS, max(0.0, float(seconds)))


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        told: object = json.loads(body)
    except ValueError:
        return {}
    return cast("Mapping[str, Any]", told) if isinstance(told, Mapping) else {}

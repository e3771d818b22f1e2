"""Hears what people write to the Telegram bot, and answers agents with it.

One server of several does so at a time, by a lease; Telegram lets no second one. What was heard is
noted after it was acted on: a server that dies in between hears it again, and a second copy of an
answer changes nothing.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx2
import structlog

from agentvine.db.session import Database
from agentvine.domains.identity import queries as identity
from agentvine.domains.identity.server_state import lock_state
from agentvine.domains.notifications import linking
from agentvine.domains.notifications.channels.telegram import BotFailed, TelegramBot
from agentvine.domains.questions.by_chat import HELP, Said, answer_by_chat
from agentvine.kit.actor import SystemActor
from agentvine.kit.documents import as_mapping
from agentvine.kit.errors import Unavailable
from agentvine.kit.guards import assert_no_transaction
from agentvine.kit.ids import new_id

_ACTOR = SystemActor("hearing")
_KEY = "telegram.hearing"
_LEASE = timedelta(seconds=90)
_WAIT_SECONDS = 20.0
_SAY_SECONDS = 20.0
_STRANGER_SECONDS = 3600.0
_MOST_STRANGERS = 1000
_LINK = (
    "This bot tells people what their agents ask. If you are one of them, `agentvine notification "
    "link` says what to send here."
)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Heard:
    """A person's words in a chat of their own with the bot."""

    chat_id: int
    said: Said


@dataclass(slots=True)
class HearingChore:
    """Asks for what was written, again and again, while it holds the lease."""

    database: Database
    bot: TelegramBot
    wait_seconds: float = _WAIT_SECONDS
    _holder: str = field(default_factory=lambda: new_id().hex)
    _answered: dict[int, float] = field(default_factory=dict[int, float])
    """Strangers who were told what this is, and when."""
    _rests_until: float = 0.0
    _has_failed: bool = False

    async def run(self) -> int:
        """Wait for words, and act on them. Returns 1 where it is to go on at once."""
        if self.database.clock.monotonic() < self._rests_until:
            return 0
        offset = await self._take_turn()
        if offset is None:
            return 0
        assert_no_transaction("listen to Telegram")
        began = self.database.clock.monotonic()
        try:
            updates = await self.bot.updates(offset, self.wait_seconds)
        except BotFailed as error:
            self._rest(error)
            return 0
        if self._has_failed:
            log.info("hearing.works")
        self._has_failed = False
        for update in updates:
            await self._take(update)
            offset = max(offset, int(update["update_id"]) + 1)
            await self._note(offset)
        # Who has nothing to tell and does not wait for it, as was asked, is not asked at once.
        waited = self.database.clock.monotonic() - began
        return 1 if updates or waited >= self.wait_seconds / 2 else 0

    async def close(self) -> None:
        """Let another server hear at once."""
        await self.bot.close()
        with suppress(Unavailable):  # then the lease ends by itself
            async with self.database.transaction(_ACTOR) as tx:
                row = await lock_state(tx, _KEY, {})
                if row.value.get("holder") == self._holder:
                    row.value = {**row.value, "until": tx.now.isoformat()}

    def _rest(self, error: BotFailed) -> None:
        if not self._has_failed:
            log.warning("hearing.failed", reason=error.detail)
        self._has_failed = True
        if error.retry_after:
            self._rests_until = self.database.clock.monotonic() + error.retry_after

    async def _take_turn(self) -> int | None:
        """Hold the lease, or go on holding it: from where to hear; None where another has it."""
        async with self.database.transaction(_ACTOR) as tx:
            row = await lock_state(tx, _KEY, {})
            holder, until = row.value.get("holder"), row.value.get("until")
            is_held = until is not None and datetime.fromisoformat(until) > tx.now
            if is_held and holder != self._holder:
                return None
            ends = (tx.now + _LEASE).isoformat()
            row.value = {**row.value, "holder": self._holder, "until": ends}
            return int(row.value.get("offset", 0))

    async def _note(self, offset: int) -> None:
        async with self.database.transaction(_ACTOR) as tx:
            row = await lock_state(tx, _KEY, {})
            if row.value.get("holder") == self._holder:
                row.value = {**row.value, "offset": offset}

    async def _take(self, update: Mapping[str, Any]) -> None:
        heard = _heard_in(update)
        if heard is None:
            return
        try:
            reply = await self._reply(heard)
        # lint: allow AV007 (the boundary of a job: one message must not stop all that come after)
        except Exception:
            log.exception("hearing.not_understood", update=update["update_id"])
            reply = "That did not work; the server's log says why."
        if reply:
            try:
                await self.bot.say(heard.chat_id, reply, _SAY_SECONDS)
            except (httpx2.HTTPError, TimeoutError) as error:
                log.warning("hearing.not_told", reason=self.bot.said(error))

    async def _reply(self, heard: _Heard) -> str:
        command, _, rest = heard.said.text.strip().partition(" ")
        if command == "/start" and rest.strip():
            return await self._link(heard.chat_id, rest.strip())
        async with self.database.read() as read:
            owner = await linking.find_owner(read, heard.chat_id)
        if owner is None:
            return _LINK if self._is_new_stranger(heard.chat_id) else ""
        if command.startswith("/"):
            return HELP
        actor = identity.acting_as(owner, through="Telegram")
        return await answer_by_chat(self.database, actor, heard.said)

    async def _link(self, chat_id: int, code: str) -> str:
        async with self.database.transaction(_ACTOR) as tx:
            user = await linking.link_chat(tx, code, chat_id)
        if user is None:
            return "This code is not good (any more): `agentvine notification link` makes another."
        return f"This chat is {user.username}'s now. {HELP}"

    def _is_new_stranger(self, chat_id: int) -> bool:
        now = self.database.clock.monotonic()
        if now - self._answered.get(chat_id, -math.inf) < _STRANGER_SECONDS:
            return False
        self._answered.pop(chat_id, None)  # they are kept by when they were told
        if len(self._answered) >= _MOST_STRANGERS:
            self._answered.pop(next(iter(self._answered)))
        self._answered[chat_id] = now
        return True


def _heard_in(update: Mapping[str, Any]) -> _Heard | None:
    """The words of an update; None where it has none, or they were said among several people."""
    message = as_mapping(update.get("message"))
    chat, sender = as_mapping(message.get("chat")), as_mapping(message.get("from"))
    chat_id, text = chat.get("id"), message.get("text")
    if chat.get("type") != "private" or not isinstance(chat_id, int) or sender.get("id") != chat_id:
        return None
    if not isinstance(text, str) or "\0" in text:
        return None
    replied_to = as_mapping(message.get("reply_to_message"))
    is_ours = as_mapping(replied_to.get("from")).get("is_bot") is True
    quoted = replied_to.get("text") if is_ours else None
    return _Heard(chat_id, Said(text, quoted if isinstance(quoted, str) else ""))

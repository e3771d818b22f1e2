"""The bot's messages: one bounded request, and its token in nothing that is told."""

import json
from typing import Any

import pytest
from pydantic import SecretStr

from agentvine.config.channels import TelegramSettings
from agentvine.domains.notifications.channels.port import Later, Letter, Never, Outcome, Sent
from agentvine.domains.notifications.channels.telegram import (
    TelegramBot,
    TelegramSender,
    cut_for_telegram,
)
from agentvine.kit.clock import SystemClock
from tests.support.upstream import Heard, Reply, Script, running_upstream

TOKEN = "123456789:AAcanary-canary-canary-canary-canar"
LETTER = Letter("0123abcd", "A question", "Shall I?")
LONG = 30.0
PATIENCE = (0.5, 4.0, LONG)
"""For who never gets an answer: as little as it takes to be heard on this machine."""


def said(status: int, **body: Any) -> Reply:
    return Reply([json.dumps(body).encode()], status=status)


def taken(_heard: Heard) -> Reply:
    return said(200, ok=True, result={"message_id": 1})


async def send(script: Script, seconds: float = LONG) -> tuple[Outcome, list[Heard]]:
    async with running_upstream(script) as upstream:
        settings = TelegramSettings(token=SecretStr(TOKEN), base_url=f"{upstream.url}/own/")
        sender = TelegramSender(TelegramBot(settings))
        try:
            return await sender.send("-10042", LETTER, seconds), upstream.heard
        finally:
            await sender.close()


async def test_a_message_is_written_to_the_chat_as_plain_text():
    told, [heard] = await send(taken)
    assert told == Sent()
    assert (heard.method, heard.path) == ("POST", f"/own/bot{TOKEN}/sendMessage")
    assert heard.json == {
        "chat_id": -10042,
        "text": "A question\n\nShall I?",
        "link_preview_options": {"is_disabled": True},
    }


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            said(429, ok=False, description="Too Many", parameters={"retry_after": 7}),
            Later("Telegram answered 429: Too Many", after_seconds=7.0),
        ),
        (
            said(429, ok=False, description="Too Many", parameters={"retry_after": "x"}),
            Later("Telegram answered 429: Too Many"),
        ),
        (said(400, description="chat not found"), Never("Telegram answered 400: chat not found")),
        (said(403, description="blocked"), Never("Telegram answered 403: blocked")),
        (
            said(401, ok=False, description="Unauthorized"),
            Later("Telegram answered 401: Unauthorized", is_for_all=True),
        ),
        (Reply([b"<html>"], status=502), Later("Telegram answered 502: no reason")),
        (Reply([b"[1]"], status=200), Later("Telegram answered 200: no reason")),
        (Reply([b"x" * 300_000], status=200), Later("Telegram answered 200: no reason")),
        (
            Reply(status=302, headers={"location": "http://127.0.0.1:1/"}),
            Later("Telegram answered 302: no reason"),
        ),
    ],
)
async def test_what_telegram_says_decides_whether_it_is_tried_again(
    reply: Reply, expected: Outcome
):
    told, heard = await send(lambda _: reply)
    assert told == expected
    assert len(heard) == 1


@pytest.mark.parametrize(
    "reply",
    [Reply(pause_after=0), Reply([b"{", b"}"], pause_after=1), Reply(is_cut=True)],
)
@pytest.mark.timeout(240)
async def test_without_an_answer_nobody_knows_and_it_does_not_take_long(reply: Reply):
    clock = SystemClock()
    told: Outcome | None = None
    heard: list[Heard] = []
    for seconds in PATIENCE:
        began = clock.monotonic()
        told, heard = await send(lambda _: reply, seconds)
        assert clock.monotonic() - began < seconds + LONG
        if heard:
            break
    assert len(heard) == 1
    assert isinstance(told, Later)
    assert not told.is_sure
    assert not told.is_for_all


async def test_who_is_not_reached_has_surely_taken_nothing():
    async with running_upstream(taken) as upstream:
        url = upstream.url
    sender = TelegramSender(TelegramBot(TelegramSettings(token=SecretStr(TOKEN), base_url=url)))
    told = await sender.send("1", LETTER, LONG)
    await sender.close()
    assert isinstance(told, Later)
    assert told.is_sure
    assert told.is_for_all


async def test_the_token_is_in_no_reason():
    for reply in (
        said(403, description=f"no /bot{TOKEN}/sendMessage"),
        Reply(is_cut=True),
        said(500, description=TOKEN),
    ):
        told, _ = await send(lambda _, reply=reply: reply)
        assert TOKEN not in repr(told)
        assert TOKEN[-20:] not in repr(told)
    assert TOKEN not in repr(TelegramSender(TelegramBot(TelegramSettings(token=SecretStr(TOKEN)))))


@pytest.mark.parametrize("letter", ["a", "ä", "€", "🦜"])
def test_a_long_text_is_cut_between_letters(letter: str):
    cut = cut_for_telegram(letter * 5000)
    assert len(cut.encode("utf-16-le")) <= 2 * 4096
    assert len(cut.encode("utf-16-le")) > 2 * 4090
    assert set(cut.removesuffix("\n...")) == {letter}
    assert cut_for_telegram(letter * 2048) == letter * 2048

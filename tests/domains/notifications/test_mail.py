"""Mail is handed over in bounded time, and what became of it is told as it is."""

import ssl
import threading
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from agentvine.config.channels import EmailSettings
from agentvine.domains.notifications.channels.mail import MailSender
from agentvine.domains.notifications.channels.port import Later, Letter, Never, Outcome, Sent
from agentvine.kit.clock import SystemClock
from tests.support.mail_server import CUT, DRIP, HANG, USUAL, MailServer, running_mail_server
from tests.support.tls import Certificates, make_certificates

PASSWORD = "canary-of-the-mailbox"
LETTER = Letter("0123abcd", "A question", "Shall I?\n.\nAnswer: agentvine answer\n")
LONG = 30.0
PATIENCE = (0.5, 4.0, LONG)
"""For who never gets an answer: as little as it takes to come so far on this machine."""


def settings_for(server: MailServer, **more: Any) -> EmailSettings:
    given: dict[str, Any] = {"host": "127.0.0.1", "port": server.port, "security": "none"}
    given |= {"sender": "Vine <vine@example.org>", **more}
    return EmailSettings(**given)


async def send(
    server: MailServer,
    letter: Letter = LETTER,
    *,
    to: str = "ann@example.org",
    seconds: float = LONG,
    trust: ssl.SSLContext | None = None,
    **more: Any,
) -> Outcome:
    trust = trust or ssl.create_default_context()
    return await MailSender(settings_for(server, **more), SystemClock(), trust).send(
        to, letter, seconds
    )


def at(verb: str, what: str) -> Any:
    return lambda said, _rest: what if said == verb else USUAL


async def test_a_letter_arrives_as_it_was_written():
    async with running_mail_server() as server:
        assert await send(server, user="vine", password=PASSWORD) == Sent()
    [taken] = server.letters
    assert (taken.sender, taken.receiver) == ("vine@example.org", "ann@example.org")
    assert taken.login == ("vine", PASSWORD)
    assert taken.id == "<0123abcd@example.org>"
    assert taken.subject == "A question"
    assert taken.text == LETTER.text
    assert taken.message["Auto-Submitted"] == "auto-generated"
    sent_at = parsedate_to_datetime(str(taken.message["Date"]))
    assert abs((SystemClock().now() - sent_at).total_seconds()) < 60


async def test_a_title_adds_no_line_to_the_head_of_a_letter():
    letter = Letter("1", "Hi\r\nBcc: eve@example.org\r\n\r\nbody", "text ä €\n" * 3)
    async with running_mail_server() as server:
        assert await send(server, letter) == Sent()
    [taken] = server.letters
    assert taken.message["Bcc"] is None
    assert taken.subject == "Hi Bcc: eve@example.org body"
    assert taken.text == letter.text


@pytest.mark.parametrize(
    "address",
    ["ann@example.org\r\nBcc: eve@example.org", "ann", "a@b, c@d.e", "", "@", "jürgen@example.org"],
)
async def test_what_is_no_address_gets_nothing(address: str):
    async with running_mail_server() as server:
        assert isinstance(await send(server, to=address), Never)
    assert server.calls == 0


def contexts(made: Certificates) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ours.load_cert_chain(made.certificate, made.key)
    return ours, ssl.create_default_context(cafile=str(made.authority))


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_who_is_to_be_encrypted_is_and_names_are_checked(security: str, tmp_path: Path):
    ours, trust = contexts(make_certificates(tmp_path, "localhost"))
    options: dict[str, Any] = {"over_tls": ours} if security == "tls" else {"tls": ours}
    async with running_mail_server(**options) as server:
        more: dict[str, Any] = {"security": security, "user": "vine", "password": PASSWORD}
        assert await send(server, host="localhost", trust=trust, **more) == Sent()
        assert server.letters[0].is_encrypted
        for host, believed in (("127.0.0.1", trust), ("localhost", None)):
            told = await send(server, host=host, trust=believed, **more)
            assert isinstance(told, Later)
            assert told.is_for_all
            assert "certificate" in told.reason.lower()
    assert len(server.letters) == 1


async def test_no_password_is_sent_where_encryption_is_not_offered():
    async with running_mail_server() as server:
        told = await send(server, security="starttls", user="vine", password=PASSWORD)
    assert isinstance(told, Later)
    assert told.is_for_all
    assert server.letters == []


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "TEXT"])
@pytest.mark.parametrize("what", [HANG, DRIP])
@pytest.mark.timeout(240)
async def test_a_server_that_hangs_costs_the_time_of_an_attempt_and_no_thread(what: str, verb: str):
    clock, told = SystemClock(), None
    async with running_mail_server(at(verb, what)) as server:
        for seconds in PATIENCE:
            began = clock.monotonic()
            told = await send(server, seconds=seconds, user="vine", password=PASSWORD)
            # Half a minute more is what a busy machine may take; without an end it were for ever.
            assert clock.monotonic() - began < seconds + LONG
            if verb in server.hung:
                break
        # The connection is ended, so the thread is.
        await server.until(lambda it: it.open == 0)
    assert isinstance(told, Later)
    assert told.is_sure == (verb not in {"DATA", "TEXT"})
    assert told.is_for_all == (verb in {"GREETING", "EHLO", "AUTH"})
    for thread in threading.enumerate():
        if thread.name == "mail":
            thread.join(LONG)
            assert not thread.is_alive()


async def test_a_letter_of_which_no_answer_came_is_the_same_the_second_time():
    async with running_mail_server(at("TEXT", CUT)) as server:
        told = await send(server)
        assert told == Later(told.reason, is_sure=False)  # type: ignore[union-attr]  # has one
        server.script = lambda _verb, _rest: USUAL
        assert await send(server) == Sent()
    assert [taken.id for taken in server.letters] == ["<0123abcd@example.org>"] * 2


@pytest.mark.parametrize(
    ("verb", "answer", "expected"),
    [
        ("GREETING", "554 go away", Later("", is_for_all=True)),
        ("MAIL", "421 not now", Later("", is_for_all=True)),
        ("AUTH", "535 5.7.8 who are you", Later("", is_for_all=True)),
        ("MAIL", "550 not from you", Later("", is_for_all=True)),
        ("RCPT", "450 4.2.1 box is full", Later("")),
        ("RCPT", "550 5.1.1 nobody here", Never("")),
        ("RCPT", "550 5.7.1 we do not relay", Later("")),
        ("DATA", "451 4.3.0 not now", Later("")),
        ("TEXT", "452 4.3.1 no room", Later("")),
        ("TEXT", "554 5.6.0 no such text", Never("")),
    ],
)
async def test_what_a_server_says_decides_whether_it_is_tried_again(
    verb: str, answer: str, expected: Outcome
):
    async with running_mail_server(at(verb, answer)) as server:
        told = await send(server, user="vine", password=PASSWORD)
    assert isinstance(told, Later | Never)
    assert type(told) is type(expected)
    assert answer[:3] in told.reason
    assert server.letters == []
    if isinstance(told, Later):
        assert told == Later(told.reason, is_for_all=expected.is_for_all)  # type: ignore[union-attr]  # of its type


async def test_a_server_that_is_not_there_is_everybodys_trouble():
    async with running_mail_server() as server:
        pass
    told = await send(server)
    assert isinstance(told, Later)
    assert told.is_for_all
    assert "is not reached" in told.reason


async def test_a_server_that_repeats_the_password_does_not_make_us_tell_it():
    async with running_mail_server(at("AUTH", f"535 not {PASSWORD}\x1b[2J")) as server:
        told = await send(server, user="vine", password=PASSWORD)
    assert isinstance(told, Later)
    assert PASSWORD not in told.reason
    assert "[redacted]" in told.reason
    assert "\x1b" not in told.reason

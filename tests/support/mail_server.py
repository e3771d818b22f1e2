"""A mail server on a loopback socket that speaks SMTP, and misbehaves as it is told to."""

import asyncio
import base64
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

HANG = "hang"
"""Say nothing, and keep the connection."""
CUT = "cut"
"""Say nothing, and end the connection."""
DRIP = "drip"
"""Say a letter every few moments, and never come to the end of a line."""
USUAL = "usual"

Script = Callable[[str, str], str]
"""Given a verb and what follows it, what to do: one of the above, or a line to say.

Verbs are those of SMTP; GREETING comes first, and TEXT after the text of a letter.
"""


@dataclass(frozen=True)
class Taken:
    """A letter that was taken; its sender may not have been told."""

    sender: str
    receiver: str
    message: EmailMessage
    login: tuple[str, str] | None
    is_encrypted: bool

    @property
    def id(self) -> str:
        return str(self.message["Message-ID"])

    @property
    def subject(self) -> str:
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        return self.message.get_content().replace("\r\n", "\n")


@dataclass
class MailServer:
    """A running mail server."""

    port: int = 0
    script: Script = lambda _verb, _rest: USUAL
    extensions: tuple[str, ...] = ("8BITMIME", "AUTH PLAIN")
    tls: ssl.SSLContext | None = None
    """For STARTTLS, which is offered where there is one."""
    letters: list[Taken] = field(default_factory=list)
    calls: int = 0
    """How many connections were made."""
    open: int = 0
    """How many there are."""
    hung: list[str] = field(default_factory=list)
    """At which verbs it was told to hang, or to drip, and did."""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends what hangs."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, is_so: "Callable[[MailServer], bool]", seconds: float = 120) -> None:
        """Wait until something is so of this server."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(lambda: is_so(self))

    async def tell_changed(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.calls += 1
        self.open += 1
        await self.tell_changed()
        try:
            await _Talk(self, reader, writer).hold()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass  # the other side has gone
        finally:
            self.open -= 1
            writer.close()
            await self.tell_changed()


class _Talk:
    def __init__(
        self, server: MailServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.server, self.reader, self.writer = server, reader, writer
        self.sender = self.receiver = ""
        self.login: tuple[str, str] | None = None
        self.is_encrypted = writer.get_extra_info("ssl_object") is not None

    async def hold(self) -> None:
        await self._say("GREETING", "", "220 mail.example.org ESMTP")
        while line := (await self.reader.readline()).decode().rstrip("\r\n"):
            verb, _, rest = line.partition(" ")
            verb = verb.upper()
            if verb == "QUIT":
                return
            await self._obey(verb, rest)

    async def _obey(self, verb: str, rest: str) -> None:
        match verb:
            case "EHLO":
                offers = [*self.server.extensions]
                if self.server.tls is not None and not self.is_encrypted:
                    offers.append("STARTTLS")
                lines = ["mail.example.org", *offers]
                marks = ["-"] * (len(lines) - 1) + [" "]
                said = "\r\n".join(
                    f"250{mark}{each}" for mark, each in zip(marks, lines, strict=True)
                )
                await self._say(verb, rest, said)
            case "STARTTLS":
                await self._say(verb, rest, "220 go on")
                assert self.server.tls is not None
                await self.writer.start_tls(self.server.tls)
                self.is_encrypted = True
            case "AUTH":
                _, name, password = base64.b64decode(rest.split()[1]).decode().split("\0")
                self.login = (name, password)
                await self._say(verb, rest, "235 welcome")
            case "MAIL":
                self.sender = _address(rest)
                await self._say(verb, rest, "250 ok")
            case "RCPT":
                self.receiver = _address(rest)
                await self._say(verb, rest, "250 ok")
            case "DATA":
                await self._say(verb, rest, "354 go on")
                await self._take()
            case _:
                await self._say(verb, rest, "250 ok")

    async def _take(self) -> None:
        content = await self.reader.readuntil(b"\r\n.\r\n")
        plain = content.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
        told = self.server.script("TEXT", self.receiver)
        if told in (USUAL, HANG, CUT, DRIP) or told.startswith("2"):
            message = message_from_bytes(plain, policy=default)
            assert isinstance(message, EmailMessage)
            self.server.letters.append(
                Taken(self.sender, self.receiver, message, self.login, self.is_encrypted)
            )
            await self.server.tell_changed()
        await self._do("TEXT", told, "250 taken")

    async def _say(self, verb: str, rest: str, usual: str) -> None:
        await self._do(verb, self.server.script(verb, rest), usual)

    async def _do(self, verb: str, told: str, usual: str) -> None:
        match told:
            case "hang":
                self.server.hung.append(verb)
                await self.server.tell_changed()
                await self._wait_for_the_end()
            case "cut":
                raise ConnectionError
            case "drip":
                self.server.hung.append(verb)
                while not self.server.let_go.is_set():
                    self.writer.write(b"2")
                    await self.writer.drain()
                    await asyncio.sleep(0.02)
                raise ConnectionError
            case _:
                self.writer.write((usual if told == USUAL else told).encode() + b"\r\n")
                await self.writer.drain()

    async def _wait_for_the_end(self) -> None:
        """Until the other side hangs up, or the test lets it go."""
        ends = [
            asyncio.ensure_future(self.reader.read()),
            asyncio.ensure_future(self.server.let_go.wait()),
        ]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for each in ends:
            each.cancel()
        raise ConnectionError


def _address(rest: str) -> str:
    return rest.partition("<")[2].partition(">")[0]


@asynccontextmanager
async def running_mail_server(
    script: Script | None = None, *, over_tls: ssl.SSLContext | None = None, **options: object
) -> AsyncGenerator[MailServer]:
    """A mail server that does as the script says."""
    server = MailServer(**options)  # type: ignore[arg-type]  # a test passes any
    if script is not None:
        server.script = script
    listening = await asyncio.start_server(server.answer, "127.0.0.1", server.port, ssl=over_tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        server.let_go.set()
        listening.close()
        while server.open:  # noqa: ASYNC110 - each sees the end by itself
            await asyncio.sleep(0.01)

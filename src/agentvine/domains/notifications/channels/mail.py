"""Mail, handed over to one mail server by SMTP.

The standard library's client waits in a thread of its own. Its socket is shut when the time is
over, so that neither a server that hangs nor one that says a letter a minute keeps the thread. Only
a name server that hangs can: then it keeps nobody else waiting, nor the process from ending.
"""

import asyncio
import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from enum import StrEnum

from agentvine.config.channels import MAIL_ADDRESS, EmailSettings
from agentvine.domains.notifications.channels.port import Later, Letter, Never, Outcome, Sent, plain
from agentvine.domains.notifications.enums import Channel
from agentvine.kit.clock import Clock
from agentvine.kit.guards import assert_no_transaction
from agentvine.kit.redaction import Redactor

_MAX_SUBJECT = 200
_FOR_GOOD = 500
_POLICY = "5.7."
"""The server's own rules (RFC 3463): it is us whom it refuses, which the operator can mend."""


class _Stage(StrEnum):
    """How far a conversation has come, and what it means when it ends there."""

    CONNECTING = "is not reached"
    SIGNING_IN = "does not let us in"
    ADDRESSING = "does not take this"
    TEXT = "has not taken this"


@dataclass(slots=True)
class MailSender:
    """Hands letters to the mail server, each over a connection of its own."""

    settings: EmailSettings
    clock: Clock
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)
    """Whose certificates are believed."""
    channel: Channel = field(default=Channel.EMAIL, init=False)

    async def send(self, address: str, letter: Letter, seconds: float) -> Outcome:
        """Send to one address."""
        assert_no_transaction("send mail")
        try:
            message = self._message(address, letter)
        except ValueError as error:
            return Never(plain(f"No mail can be written to this address: {error}"))
        call = _Call(self.settings, self.trust, seconds)
        try:
            async with asyncio.timeout(seconds):
                await _in_own_thread(lambda: call.hand_over(address, message))
        except (OSError, smtplib.SMTPException) as error:  # a TimeoutError is an OSError
            return self._judge(call.stage, error)
        finally:
            call.give_up()
        return Sent()

    async def close(self) -> None:
        """Nothing is kept open."""

    def _message(self, address: str, letter: Letter) -> EmailMessage:
        name, sender = self.settings.sender_parts
        domain = sender.partition("@")[2]
        if not MAIL_ADDRESS.fullmatch(address):
            raise ValueError("it is none of ASCII letters, like ann@example.org")
        message = EmailMessage(policy=SMTP)
        message["From"] = Address(name, *sender.split("@"))
        message["To"] = Address("", *address.split("@"))
        message["Subject"] = plain(letter.subject, _MAX_SUBJECT)
        message["Date"] = format_datetime(self.clock.now())
        message["Message-ID"] = f"<{letter.id}@{domain}>"
        # So that nobody's note of absence comes back (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text, charset="utf-8", cte="quoted-printable")
        return message

    def _judge(self, stage: _Stage, error: Exception) -> Outcome:
        code, said = _answer_of(error)
        clean = Redactor([self.settings.password.get_secret_value()]).clean(said)
        reason = plain(f"The mail server {stage}: {clean}")
        if stage in (_Stage.CONNECTING, _Stage.SIGNING_IN):
            return Later(reason, is_for_all=True)
        if isinstance(error, smtplib.SMTPSenderRefused):
            return Later(reason, is_for_all=True)
        if code is None:
            # Without an answer to the text of a message nobody knows what became of it.
            return Later(reason, is_sure=stage is not _Stage.TEXT)
        is_final = code >= _FOR_GOOD and _POLICY not in said
        return Never(reason) if is_final else Later(reason)


class _Call:
    """One conversation with the server: held in a thread, and ended from outside."""

    def __init__(self, settings: EmailSettings, trust: ssl.SSLContext, seconds: float) -> None:
        self.stage = _Stage.CONNECTING
        self._settings = settings
        self._trust = trust
        self._seconds = seconds
        self._smtp: smtplib.SMTP | None = None
        self._is_over = threading.Event()

    def hand_over(self, receiver: str, message: EmailMessage) -> None:
        """Hold it, in a thread."""
        smtp = self._smtp = self._client()
        try:
            self._open(smtp)
            self._address(smtp, receiver)
            self._go_on(_Stage.TEXT)
            code, said = smtp.data(message.as_bytes())
            if code != 250:
                raise smtplib.SMTPDataError(code, said)
            # It is taken: whatever becomes of the farewell, nobody waits for it.
            with contextlib.suppress(OSError, smtplib.SMTPException):
                smtp.putcmd("QUIT")
        finally:
            smtp.close()

    def give_up(self) -> None:
        """End it at once, from the loop; what waits in the thread sees the connection lost."""
        self._is_over.set()
        sock = self._smtp.sock if self._smtp is not None else None
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not the method of an encrypted socket, which takes it apart under the reader.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _client(self) -> smtplib.SMTP:
        # Named here, or a name server would be asked who we are, each time.
        ours = self._settings.sender_parts[1].partition("@")[2]
        if self._settings.security == "tls":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(
                local_hostname=ours, timeout=self._seconds, context=self._trust
            )
        else:
            smtp = smtplib.SMTP(local_hostname=ours, timeout=self._seconds)
        # Whom the certificate must name. The constructor would take it, too, but connect at once,
        # and nobody could end that.
        smtp._host = self._settings.host  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue]  # see above
        return smtp

    def _open(self, smtp: smtplib.SMTP) -> None:
        code, said = smtp.connect(self._settings.host, self._settings.port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, said)
        if self._settings.security == "starttls":
            smtp.starttls(context=self._trust)
        self._go_on(_Stage.SIGNING_IN)
        password = self._settings.password.get_secret_value()
        if password:
            smtp.login(self._settings.user, password)
        else:
            smtp.ehlo_or_helo_if_needed()

    def _address(self, smtp: smtplib.SMTP, receiver: str) -> None:
        self._go_on(_Stage.ADDRESSING)
        _, sender = self._settings.sender_parts
        code, said = smtp.mail(sender)
        if code != 250:
            raise smtplib.SMTPSenderRefused(code, said, sender)
        code, said = smtp.rcpt(receiver)
        if code not in (250, 251):
            raise smtplib.SMTPRecipientsRefused({receiver: (code, said)})

    def _go_on(self, stage: _Stage) -> None:
        if self._is_over.is_set():
            raise TimeoutError
        self.stage = stage


async def _in_own_thread(work: Callable[[], None]) -> None:
    """Wait for a thread that nothing else waits for, neither the loop's others nor the exit."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def settle(error: Exception | None) -> None:
        if done.done():
            return  # nobody waits any more
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        failure: Exception | None = None
        try:
            work()
        except Exception as error:  # noqa: BLE001  # lint: allow AV007 (handed to who waits)
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop may be closed by now
            loop.call_soon_threadsafe(settle, failure)

    threading.Thread(target=run, name="mail", daemon=True).start()
    await done


def _answer_of(error: Exception) -> tuple[int | None, str]:
    """The code of the server's answer, where it gave one, and what was said."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, said = next(iter(error.recipients.values()))
        return code, f"{code} {_text(said)}"
    if isinstance(error, smtplib.SMTPResponseException):
        return error.smtp_code, f"{error.smtp_code} {_text(error.smtp_error)}"
    if isinstance(error, TimeoutError):
        return None, "no answer in time"
    return None, f"{type(error).__name__} {error}".strip()


def _text(said: bytes | str) -> str:
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else said

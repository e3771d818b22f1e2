"""What ``agentvine notification`` does."""

from collections.abc import Sequence

from agentvine.cli import resolve
from agentvine.cli.output import Column, in_short, printable
from agentvine.cli.session import Session
from agentvine.kit.errors import Invalid, NotFound
from agentvine.kit.ids import short_id
from agentvine.protocol.base import MAX_INTEGER
from agentvine.protocol.notifications import (
    Channel,
    NotificationOut,
    PreferencesIn,
    PreferencesOut,
    TestIn,
    Wanted,
)


class NotificationUnknown(NotFound):
    """No notification of yours is called so."""

    code = "notification_unknown"


async def list_notifications(session: Session, *, unread: bool, limit: int | None) -> None:
    """What one was told."""
    listing = session.client.notifications.list(unread=unread)
    rows = await resolve.collect(listing, limit)
    session.out.table(rows, _COLUMNS, nothing="You were told nothing.")
    if any(not row.is_read for row in rows):
        session.out.note("`agentvine notification read` shows what is unread, and puts it away.")


async def read(session: Session, *, names: Sequence[str], everything: bool) -> None:
    """Show some, and put them away."""
    api = session.client.notifications
    if everything:
        if names:
            raise Invalid("Name some, or say --all.")
        await api.mark_all_read()
        session.out.done("everything is put away", {"unread": 0})
        return
    if names:
        found = [await _find(session, name) for name in names]
    else:
        found = await resolve.collect(api.list(unread=True))
    rows: list[NotificationOut] = []
    for row in found:
        if not session.out.as_json:
            session.out.line(f"{session.out.age(row.created_at)}  {printable(row.title)}")
            for line in row.message.splitlines():
                session.out.line(f"  {printable(line)}".rstrip())
        rows.append(await api.mark_read(row.id))
    if session.out.as_json:
        session.out.data(rows)
    elif not rows:
        session.out.note("There is nothing that you have not read.")


async def settings(
    session: Session,
    *,
    email: Wanted | None,
    telegram: Wanted | None,
    telegram_chat: str | None,
) -> None:
    """Show how one wants to be told, or change it."""
    change: dict[str, object] = {"email": email, "telegram": telegram}
    given = {name: value for name, value in change.items() if value is not None}
    if telegram_chat is not None:
        given["telegram_chat_id"] = _chat(telegram_chat)
    api = session.client.notifications
    if given:
        row = await api.set_preferences(PreferencesIn.model_validate(given))
    else:
        row = await api.preferences()
    session.out.record(row, _fields(row))


async def link(session: Session) -> None:
    """Show the code that proves a chat to be one's own."""
    row = await session.client.notifications.telegram_code()
    if session.out.as_json:
        session.out.data(row)
        return
    session.out.line(f"/start {row.code}")
    until = session.out.age(row.expires_at)
    session.out.note(f"Send this to your server's bot, from a chat with it alone; it ends {until}.")


async def test(session: Session, *, channels: Sequence[Channel]) -> None:
    """Send oneself a test."""
    row = await session.client.notifications.test(TestIn(channels=list(channels)))
    told = f"a test is on its way; `agentvine notification list` shows {short_id(row.id)}"
    session.out.done(told, row)


async def _find(session: Session, name: str) -> NotificationOut:
    """A notification by its id, or by its short name."""
    api = session.client.notifications
    given = resolve.as_uuid(name)
    if given is not None:
        return await api.get(given)
    async for row in resolve.every(api.list()):
        if short_id(row.id) == name.casefold():
            return row
    raise NotificationUnknown(f"You were told nothing by the name {name}.")


def _chat(text: str) -> int | None:
    if text.casefold() == "none":
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or int(digits) > MAX_INTEGER:
        raise Invalid(f"{text!r} is no number of a chat; write `none` to be told in no chat.")
    return int(text)


def _fields(row: PreferencesOut) -> list[tuple[str, object]]:
    chat = "no chat yet" if row.telegram_chat_id is None else f"chat {row.telegram_chat_id}"
    return [
        ("email", f"{row.email.value}, to {printable(row.email_address)}"),
        ("telegram", f"{row.telegram.value}, to {chat}"),
    ]


def _sent(row: NotificationOut) -> str:
    """How far it was sent, over each channel of which there is something to say."""
    told: list[str] = []
    for channel, is_sent in (
        (Channel.EMAIL, row.sent_email),
        (Channel.TELEGRAM, row.sent_telegram),
    ):
        trouble = row.delivery.get(channel)
        if is_sent:
            told.append(channel.value)
        elif trouble is not None:
            verb = "given up" if trouble.gave_up else "tried again"
            told.append(f"{channel.value} {verb}: {in_short(trouble.error)}")
    if not told and row.next_attempt_at is not None:
        return "on its way"
    return "; ".join(told)


_COLUMNS = [
    Column[NotificationOut]("name", lambda row: short_id(row.id)),
    Column[NotificationOut]("told", lambda row: row.created_at),
    Column[NotificationOut]("severity", lambda row: row.severity.value),
    Column[NotificationOut]("unread", lambda row: not row.is_read),
    Column[NotificationOut]("title", lambda row: in_short(row.title)),
    Column[NotificationOut]("sent", _sent),
]

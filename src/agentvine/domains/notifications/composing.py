"""What a person is told at once: one letter of however many notifications."""

import hashlib
from collections.abc import Sequence

from agentvine.domains.notifications.channels.port import Letter, plain
from agentvine.domains.notifications.models import Notification

MAX_LISTED = 20
_MAX_TITLE = 200
_MAX_ALONE = 3000
_MAX_IN_LIST = 300
_END = "You are told this by AgentVine. What is sent to you: agentvine notification settings"


def compose(notifications: Sequence[Notification]) -> Letter:
    """A letter of all of them: the first are listed, the rest are counted.

    The same notifications make the same letter, so that one which goes a second time is the same.
    """
    rows = sorted(notifications, key=lambda row: (row.created_at, row.id))
    names = " ".join(str(row.id) for row in rows)
    identity = hashlib.sha256(names.encode()).hexdigest()[:32]
    if len(rows) == 1:
        [row] = rows
        text = f"{_body(row.message, _MAX_ALONE)}\n\n{_END}\n"
        return Letter(identity, plain(row.title, _MAX_TITLE), text)
    parts = [
        f"{number}. {plain(row.title, _MAX_TITLE)}\n{_body(row.message, _MAX_IN_LIST)}\n"
        for number, row in enumerate(rows[:MAX_LISTED], start=1)
    ]
    left = len(rows) - MAX_LISTED
    if left > 0:
        parts.append(f"... and {left} more: agentvine notification list --unread\n")
    subject = f"{len(rows)} notifications: {plain(rows[0].title, _MAX_TITLE)}"
    return Letter(identity, subject[:_MAX_TITLE], "\n".join([*parts, f"{_END}\n"]))


def _body(text: str, limit: int) -> str:
    """A bounded text of plain lines: no escapes for a terminal, nor anything that moves letters."""
    lines = "\n".join(plain(line, limit) for line in text[: 4 * limit].splitlines())
    return lines if len(lines) <= limit else f"{lines[: limit - 3]}..."

"""Notifications for tests, and what they look like afterwards."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update

from agentvine.db.base import table_of
from agentvine.db.session import Database, Transaction
from agentvine.domains.identity.models import User
from agentvine.domains.notifications.enums import NotificationId, Severity
from agentvine.domains.notifications.models import Notification
from agentvine.kit.ids import new_id
from tests.support.builders.identity import make_user, unique


async def make_receiver(tx: Transaction, *, chat: int | None = None, **settings: str) -> User:
    """Somebody who can be told by mail, and in a chat if there is one."""
    user = await make_user(tx)
    user.telegram_chat_id = chat
    if settings:
        user.settings = {"notifications": settings}
    await tx.flush()
    return user


async def make_notifications(
    tx: Transaction,
    user: User,
    count: int = 1,
    *,
    severity: Severity | None = Severity.WARNING,
    metadata: dict[str, Any] | None = None,
    is_due: bool = True,
    **columns: Any,
) -> list[NotificationId]:
    """So many rows of one person, due at once."""
    made: list[NotificationId] = []
    for number in range(count):
        row = Notification(
            id=NotificationId(new_id()),
            type="test",
            title=f"Notice {number}",
            message=f"This is notice {number}.",
            severity=severity,
            user_id=user.id,
            key=unique("key"),
            created_at=tx.now,
            metadata_=metadata or {},
        )
        for name, value in columns.items():
            setattr(row, name, value)
        tx.add(row)
        made.append(row.id)
    await tx.flush()
    if is_due:
        await move(tx, made, seconds=0)
    return made


async def move(tx: Transaction, ids: Sequence[NotificationId], *, seconds: float) -> None:
    """Make rows due so many seconds from now, by the database's clock."""
    table = table_of(Notification)
    due = tx.dialect.seconds_from_now(seconds)
    await tx.execute(update(table).where(table.c.id.in_(ids)).values(next_attempt_at=due))


async def make_due(database: Database) -> None:
    """Let all time pass that anything waits for; what goes together stays together."""
    table = table_of(Notification)
    async with database.transaction() as tx:
        earlier = tx.dialect.shifted(table.c.next_attempt_at, -10 * 86400.0)
        waiting = table.c.next_attempt_at.is_not(None)
        await tx.execute(update(table).where(waiting).values(next_attempt_at=earlier))


async def age(database: Database, ids: Sequence[NotificationId], days: float) -> None:
    """Make rows older."""
    table = table_of(Notification)
    async with database.transaction() as tx:
        values = {"created_at": tx.now - timedelta(days=days)}
        await tx.execute(update(table).where(table.c.id.in_(ids)).values(**values))


async def rows_of(database: Database, ids: Sequence[NotificationId]) -> list[Notification]:
    """Rows as they are committed, in the order asked for."""
    async with database.read() as read:
        found = await read.scalars(select(Notification).where(Notification.id.in_(ids)))
        by_id = {row.id: row for row in found}
    return [by_id[each] for each in ids]

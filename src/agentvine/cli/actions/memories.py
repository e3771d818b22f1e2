"""What ``agentvine memory`` does."""

import json
import uuid
from collections.abc import Sequence
from datetime import timedelta

from agentvine.cli import resolve
from agentvine.cli.actions.tasks import read_text
from agentvine.cli.output import Column, printable
from agentvine.cli.session import Session
from agentvine.kit.clock import SystemClock
from agentvine.kit.errors import Invalid
from agentvine.protocol.agents import AgentOut
from agentvine.protocol.memories import MemoryIn, MemoryOut, RecalledOut

_SHOWN = 80


class ValueNotJson(Invalid):
    """The value is not JSON."""

    code = "value_not_json"


async def list_memories(
    session: Session, *, agent: str, project: str | None, category: str | None, limit: int | None
) -> None:
    """All of it."""
    row, project_id = await _found(session, agent, project)
    listed = session.client.memories.list(row.id, project_id=project_id, category=category)
    nothing = f"{row.name} remembers nothing; `agentvine memory remember` tells it something."
    session.out.table(await resolve.collect(listed, limit), _COLUMNS, nothing=nothing)


async def remember(
    session: Session,
    *,
    agent: str,
    category: str,
    key: str,
    value: str,
    project: str | None,
    importance: int,
    days: float | None,
    json_value: bool,
) -> None:
    """Tell it.

    Raises:
        ValueNotJson: It was said to be.
    """
    row, project_id = await _found(session, agent, project)
    text = read_text(value) or ""
    now = SystemClock().now()
    body = MemoryIn(
        project_id=project_id,
        category=category,
        key=key,
        value=_as_json(text) if json_value else text,
        importance=importance,
        expires_at=None if days is None else now + timedelta(days=days),
    )
    kept = await session.client.memories.remember(row.id, body)
    session.out.done(f"{row.name} remembers {kept.category}/{kept.key}", kept)


async def recall(
    session: Session,
    *,
    agent: str,
    words: Sequence[str],
    project: str | None,
    category: str | None,
    max_tokens: int | None,
    limit: int | None,
) -> None:
    """What it recalls."""
    row, project_id = await _found(session, agent, project)
    found = await session.client.memories.recall(
        row.id,
        " ".join(words),
        project_id=project_id,
        category=category,
        max_tokens=max_tokens,
        limit=limit,
    )
    if session.out.as_json:
        session.out.data(found)
        return
    session.out.table(found.items, _RECALLED, nothing=f"{row.name} remembers nothing of it.")
    if found.left_out:
        session.out.note(f"{found.left_out} more had no room in {found.tokens} tokens.")


async def forget(
    session: Session, *, agent: str, category: str, key: str | None, project: str | None
) -> None:
    """Forget it."""
    row, project_id = await _found(session, agent, project)
    gone = await session.client.memories.forget(row.id, category, key=key, project_id=project_id)
    session.out.done(f"{row.name} has forgotten {gone.count}", gone)


async def _found(
    session: Session, agent: str, project: str | None
) -> tuple[AgentOut, uuid.UUID | None]:
    row = await resolve.find_agent(session, agent, project)
    return row, await resolve.project_id(session, project) if project else None


def _as_json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueNotJson(f"{error}; without --json-value it is taken as a text.") from None


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= _SHOWN else f"{flat[:_SHOWN]}…"


_COLUMNS = [
    Column[MemoryOut]("category", lambda row: row.category),
    Column[MemoryOut]("key", lambda row: row.key),
    Column[MemoryOut]("value", lambda row: _short(row.value)),
    Column[MemoryOut]("of", lambda row: row.project_id or "everything"),
    Column[MemoryOut]("importance", lambda row: row.importance),
    Column[MemoryOut]("until", lambda row: row.expires_at),
]
_RECALLED = [
    Column[RecalledOut]("score", lambda row: f"{row.score:.2f}"),
    Column[RecalledOut]("category", lambda row: row.memory.category),
    Column[RecalledOut]("key", lambda row: row.memory.key),
    Column[RecalledOut]("value", lambda row: _short(row.memory.value)),
]

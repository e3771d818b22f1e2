"""Usage summed up by one of its links, with what people call each."""

import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from agentvine.db.session import ReadSession
from agentvine.domains.agents.models import Agent
from agentvine.domains.conversations.models import Conversation
from agentvine.domains.identity.models import User
from agentvine.domains.projects.models import Project
from agentvine.domains.tasks.models import Task
from agentvine.domains.usage.models import TokenUsage
from agentvine.domains.usage.queries import sum_calls, visible_calls
from agentvine.kit.actor import Actor
from agentvine.protocol.usage import SumQuery, UsageBy, UsageOut, UsageSumOut

_KEYS: Mapping[UsageBy, InstrumentedAttribute[Any]] = {
    UsageBy.DAY: TokenUsage.usage_date,
    UsageBy.MODEL: TokenUsage.model,
    UsageBy.PROJECT: TokenUsage.project_id,
    UsageBy.TASK: TokenUsage.task_id,
    UsageBy.EXECUTION: TokenUsage.execution_id,
    UsageBy.USER: TokenUsage.user_id,
    UsageBy.AGENT: TokenUsage.agent_id,
    UsageBy.AGENT_TYPE: TokenUsage.agent_type,
    UsageBy.CONVERSATION: TokenUsage.conversation_id,
    UsageBy.MESSAGE: TokenUsage.message_id,
}
_NAMES: Mapping[UsageBy, tuple[InstrumentedAttribute[Any], InstrumentedAttribute[Any]]] = {
    UsageBy.PROJECT: (Project.id, Project.name),
    UsageBy.USER: (User.id, User.username),
    UsageBy.AGENT: (Agent.id, Agent.name),
    UsageBy.CONVERSATION: (Conversation.id, Conversation.title),
}


async def sum_usage(read: ReadSession, actor: Actor, wanted: SumQuery) -> UsageOut:
    """What the calls used that the actor may see, dearest first; days newest first."""
    by, limit = wanted.by, wanted.limit
    where = visible_calls(actor, wanted)
    found, total = await sum_calls(read, where, _KEYS[by], limit + 1)
    rows = found[:limit]
    labels = await _labels(read, by, [row[0] for row in rows if row[0] is not None])
    return UsageOut(
        by=by,
        rows=[
            _sum_out(row, None if row[0] is None else str(row[0]), labels.get(row[0]))
            for row in rows
        ],
        total=_sum_out(total, None, None),
        is_complete=len(found) <= limit,
    )


def _sum_out(row: Any, key: str | None, label: str | None) -> UsageSumOut:
    return UsageSumOut(
        key=key,
        label=label,
        calls=row.calls,
        tokens_in=row.tokens_in,
        tokens_out=row.tokens_out,
        tokens_cache_read=row.tokens_cache_read,
        tokens_cache_write=row.tokens_cache_write,
        cost_usd=row.cost_usd or Decimal(0),
        estimated_calls=row.estimated_calls,
    )


async def _labels(
    read: ReadSession, by: UsageBy, keys: Sequence[uuid.UUID]
) -> dict[uuid.UUID, str | None]:
    if by is UsageBy.TASK:
        query = select(Task.id, Task.number, Task.title).where(Task.id.in_(keys))
        rows = (await read.execute(query)).all()
        return {task_id: f"T-{number} {title}" for task_id, number, title in rows}
    if by not in _NAMES:
        return {}
    key, name = _NAMES[by]
    return {row[0]: row[1] for row in (await read.execute(select(key, name).where(key.in_(keys))))}

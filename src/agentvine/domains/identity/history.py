"""What happened, twice: audit rows for the auditor, events for live streams.

Both are written by commands in their own transaction, so that neither tells of something that was
rolled back.
"""

import uuid
from collections.abc import Mapping
from typing import Any

import structlog

from agentvine.db.session import Transaction
from agentvine.domains.identity.models import AuditEvent, Event


def record(
    tx: Transaction,
    action: str,
    *,
    entity: tuple[str, uuid.UUID | str],
    project_id: uuid.UUID | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an audit row and an event for a command.

    Args:
        tx: The command's transaction; its actor is who did it.
        action: Dotted and in the past tense, like ``task.cancelled``.
        entity: Kind and id of the row that changed.
        project_id: The project it belongs to, where there is one.
        before: Changed fields as they were; JSON values, no secrets.
        after: Changed fields as they are now; JSON values, no secrets.
    """
    kind, entity_id = entity
    tx.add(
        AuditEvent(
            occurred_at=tx.now,
            actor_type=tx.actor.actor_id.partition(":")[0],
            actor_id=tx.actor.actor_id,
            actor_label=tx.actor.label,
            action=action,
            entity_type=kind,
            entity_id=str(entity_id),
            project_id=project_id,
            before=dict(before) if before is not None else None,
            after=dict(after) if after is not None else None,
            request_id=structlog.contextvars.get_contextvars().get("request_id"),
        )
    )
    announce(tx, action, entity=entity, project_id=project_id, payload=after)


def announce(
    tx: Transaction,
    event_type: str,
    *,
    entity: tuple[str, uuid.UUID | str],
    project_id: uuid.UUID | None = None,
    payload: Mapping[str, Any] | None = None,
) -> None:
    """Add an event alone: for what is of interest now but not to an auditor."""
    kind, entity_id = entity
    tx.add(
        Event(
            occurred_at=tx.now,
            type=event_type,
            project_id=project_id,
            entity_type=kind,
            entity_id=str(entity_id),
            payload=dict(payload or {}),
        )
    )
    tx.hint("events", str(project_id or ""))

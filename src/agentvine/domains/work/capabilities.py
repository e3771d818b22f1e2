"""Requirement sets, interned.

An order names its set by a small number, so that one indexed comparison decides whether a worker
satisfies it.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence

from sqlalchemy import select

from agentvine.db.base import table_of
from agentvine.db.session import ReadSession, Transaction
from agentvine.domains.work.models import CapabilitySet
from agentvine.domains.workers import queries as workers
from agentvine.protocol.enums import CapabilityLevel

_RANK = {level: rank for rank, level in enumerate(CapabilityLevel)}


def satisfies(has: Mapping[str, CapabilityLevel], required: Mapping[str, CapabilityLevel]) -> bool:
    """Whether every requirement is met at its level or above; names compare without case."""
    known = {name.casefold(): level for name, level in has.items()}
    return all(
        name.casefold() in known and _RANK[known[name.casefold()]] >= _RANK[level]
        for name, level in required.items()
    )


async def intern_requirements(
    tx: Transaction, required: Mapping[str, CapabilityLevel]
) -> int | None:
    """The id of a requirement set, made when it is new; None for no requirements."""
    if not required:
        return None
    document = {name.casefold(): level.value for name, level in sorted(required.items())}
    fingerprint = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    known = select(CapabilitySet.id).where(CapabilitySet.fingerprint == fingerprint)
    found = await tx.scalar(known)
    if found is not None:
        return found
    # Asked for by two at once, it is made by one; the other waits for that one's commit.
    await tx.execute(
        tx.dialect.upsert(
            table_of(CapabilitySet),
            {"fingerprint": fingerprint, "requirements": document},
            keys=["fingerprint"],
        )
    )
    return await tx.scalar(known)


async def satisfied_sets(read: ReadSession, worker_id: uuid.UUID) -> tuple[Sequence[int], int]:
    """Ids of all requirement sets that a worker's capabilities meet, and of the newest of all."""
    sets = (await read.execute(select(CapabilitySet.id, CapabilitySet.requirements))).all()
    if not sets:
        return [], 0
    has = await workers.capabilities_of(read, worker_id)
    satisfied = [
        set_id
        for set_id, required in sets
        if satisfies(has, {name: CapabilityLevel(level) for name, level in required.items()})
    ]
    return satisfied, max(set_id for set_id, _ in sets)

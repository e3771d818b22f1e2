"""What was asked and answered in calls: kept for a while where the operator says so, no secrets."""

import asyncio
import uuid
import zlib
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import delete, select

from agentvine.db.base import table_of
from agentvine.db.session import Database, ReadSession
from agentvine.domains.gateway.models import CallBodies
from agentvine.domains.usage.models import TokenUsage
from agentvine.domains.usage.queries import visible_calls
from agentvine.kit.actor import Actor, SystemActor
from agentvine.kit.errors import NotFound
from agentvine.kit.redaction import Redactor
from agentvine.protocol.usage import CallBodiesOut, CallFilter

MAX_KEPT_BYTES = 4 * 1024 * 1024
"""Of a request, and of an answer: their beginnings."""
_ACTOR = SystemActor("gateway")
_BATCH = 500


class CallBodiesNotFound(NotFound):
    """What was said in this call is not kept."""

    code = "call_bodies_not_found"


@dataclass(slots=True)
class Tape:
    """The beginning of an answer as it passes by."""

    length: int = 0
    kept: bytearray = field(default_factory=bytearray)

    def take(self, chunk: bytes) -> None:
        """A part more of it."""
        self.length += len(chunk)
        room = MAX_KEPT_BYTES - len(self.kept)
        if room > 0:
            self.kept += chunk[:room]


@dataclass(frozen=True, slots=True)
class BodyKeeper:
    """Keeps what was said in calls, for so many days; for none, it keeps nothing."""

    database: Database
    days: float

    def tape(self) -> Tape | None:
        """Where to put an answer; None where nothing is kept."""
        return Tape() if self.days > 0 else None

    async def keep(
        self,
        request_id: str,
        project_id: uuid.UUID | None,
        secret: str | None,
        request: bytes,
        tape: Tape,
    ) -> None:
        """Store one call's. ``secret`` is the provider's key, should it have been repeated."""
        # Masking and compressing some megabytes would hold up the calls of others.
        asked, answered = await asyncio.to_thread(
            _packed, secret, request[:MAX_KEPT_BYTES], bytes(tape.kept)
        )
        row = CallBodies(
            request_id=request_id,
            project_id=project_id,
            request=asked,
            response=answered,
            request_bytes=len(request),
            response_bytes=tape.length,
        )
        async with self.database.transaction(_ACTOR) as tx:
            tx.add(row)

    async def forget(self) -> int:
        """Remove what is older, some at a time. Returns how many."""
        bodies = table_of(CallBodies)
        async with self.database.transaction(_ACTOR) as tx:
            limit = tx.now - timedelta(days=self.days)
            old = select(bodies.c.id).where(bodies.c.created_at < limit).limit(_BATCH)
            gone = await tx.execute(
                delete(bodies).where(bodies.c.id.in_(old)).returning(bodies.c.id)
            )
            return len(gone.all())


async def get_bodies(read: ReadSession, actor: Actor, request_id: str) -> CallBodiesOut:
    """What was said in a call that the actor may see.

    Raises:
        CallBodiesNotFound: It is not kept, or the call is not theirs to see.
    """
    query = (
        select(CallBodies)
        .join(TokenUsage, TokenUsage.request_id == CallBodies.request_id)
        .where(CallBodies.request_id == request_id, visible_calls(actor, CallFilter()))
    )
    found = await read.scalar(query)
    if found is None:
        raise CallBodiesNotFound(
            f"Nothing is kept of what was said in {request_id}. Calls are kept only where the "
            "server is started with AGENTVINE_KEEP_CALL_BODIES_DAYS."
        )
    asked, answered = await asyncio.to_thread(_unpacked, found.request, found.response)
    return CallBodiesOut(
        request_id=request_id,
        request=asked,
        response=answered,
        request_bytes=found.request_bytes,
        response_bytes=found.response_bytes,
        is_cut=max(found.request_bytes, found.response_bytes) > MAX_KEPT_BYTES,
        created_at=found.created_at,
    )


def _packed(secret: str | None, *bodies: bytes) -> list[bytes]:
    redactor = Redactor([secret] if secret else [])
    texts = (redactor.clean(body.decode(errors="replace")) for body in bodies)
    return [zlib.compress(text.encode()) for text in texts]


def _unpacked(*bodies: bytes) -> list[str]:
    return [zlib.decompress(body).decode() for body in bodies]

"""A worker's beat, in one statement where nothing is special; else the long way.

The statement looks at the worker's token itself, so that a plain beat needs no look-up before it,
and a token that was revoked is refused by the very next beat. What is in doubt is left to the long
way, which does all of it again: a beat may be repeated.
"""

from dataclasses import dataclass
from typing import Any

from agentvine.config.settings import QueueSettings
from agentvine.db.direct import Row
from agentvine.db.session import Database
from agentvine.domains.identity import shortcuts as identity
from agentvine.domains.identity.last_use import LastUses
from agentvine.domains.identity.tokens import Credentials
from agentvine.domains.work import claiming
from agentvine.domains.work.statements import Statement, run
from agentvine.domains.workers.enums import WorkerStatus
from agentvine.kit.actor import WorkerActor
from agentvine.protocol.queue import HeartbeatIn, HeartbeatOut, LeaseOut, LeaseState

_TYPES = {
    **identity.CREDENTIALS,
    "worker_id": "uuid",
    "session_id": "uuid",
    "worker_status": "text",
    "lease": "float8",
    "order_ids": "uuid[]",
    "fences": "bigint[]",
    "phases": "text[]",
}
_BEAT = {
    "caller": f"""
        SELECT w.id, w.is_draining, w.token_id FROM workers w
        WHERE w.id = :worker_id AND w.session_id = :session_id AND w.deleted_at IS NULL
            AND (w.token_id = ({identity.GOOD_WORKER})) IS TRUE
    """,  # noqa: S608  # put together once, at import, from constants
    # Passed over where a claim or a registration holds it: whoever waits for a worker must not hold
    # orders. The next beat notes it.
    "awake": """
        SELECT w.id FROM workers w JOIN caller ON caller.id = w.id
        FOR NO KEY UPDATE OF w SKIP LOCKED
    """,
    "noted": """
        UPDATE workers w SET last_heartbeat_at = :now, status = :worker_status
        FROM awake WHERE w.id = awake.id
    """,
    "asked": """
        SELECT * FROM unnest(:order_ids, :fences, :phases) AS asked (order_id, fence, phase)
    """,
    # IS TRUE keeps indexes out of it: each row is looked up by its id, not among all workers of a
    # token, or all that the worker ever finished.
    "picked": """
        SELECT o.id, o.fence, {advances} AS advances
        FROM caller CROSS JOIN asked JOIN LATERAL (
            SELECT o.id, o.fence, o.execution_id FROM work_orders o
            WHERE o.id = asked.order_id AND o.fence = asked.fence
                AND (o.worker_id = :worker_id) IS TRUE AND (o.status = 'claimed') IS TRUE
            FOR NO KEY UPDATE SKIP LOCKED OFFSET 0
        ) o ON true
    """,
    "renewed": """
        UPDATE work_orders o
        SET lease_expires_at = statement_timestamp() + make_interval(secs => :lease)
        FROM picked
        WHERE o.id = picked.id AND o.fence = picked.fence AND (o.status = 'claimed') IS TRUE
        RETURNING o.id, o.fence, picked.advances,
            coalesce(o.cancel_requested_at, o.stop_requested_at) IS NOT NULL AS is_to_stop,
            (o.controlled_fence = o.fence) IS TRUE AS is_controlled
    """,
}
_RESULT = """
    SELECT caller.token_id, caller.is_draining, asked.order_id, asked.fence, renewed.is_to_stop,
        CASE WHEN renewed.id IS NOT NULL THEN renewed.advances OR renewed.is_controlled
            ELSE EXISTS (
                SELECT FROM work_orders o
                WHERE o.id = asked.order_id AND o.fence = asked.fence
                    AND (o.worker_id = :worker_id) IS TRUE AND (o.status = 'claimed') IS TRUE
            )
        END AS is_special
    FROM caller LEFT JOIN asked ON true
        LEFT JOIN renewed ON renewed.id = asked.order_id AND renewed.fence = asked.fence
"""


def beat_statement(advances: str) -> Statement:
    """A whole beat.

    Args:
        advances: Whether what the worker does in an order ``o`` (``asked.phase``) is news.
    """
    tables = {name: sql.replace("{advances}", advances) for name, sql in _BEAT.items()}
    return Statement(tables, _RESULT, _TYPES)


@dataclass(frozen=True, slots=True)
class Beats:
    """Takes the beats of workers."""

    database: Database
    settings: QueueSettings
    statement: Statement
    uses: LastUses

    async def take_plain(
        self, credentials: Credentials, message: HeartbeatIn
    ) -> HeartbeatOut | None:
        """Answer a beat in which nothing is special; None where that is not so.

        A token that is not good, or a worker that is not its own, is special.
        """
        direct = self.database.direct
        if direct is None:
            return None
        values = self.values(credentials, message)
        rows = await run(self.statement, direct, values)
        # An order that is held, but was not renewed, is in somebody's hands at this moment.
        if not rows or any(row["is_special"] for row in rows if row["order_id"] is not None):
            return None
        self.uses.note(rows[0]["token_id"], values["now"])
        return HeartbeatOut(
            leases=[_lease(row) for row in rows if row["order_id"] is not None],
            lease_seconds=self.settings.lease_seconds,
            drain=rows[0]["is_draining"],
        )

    async def take(self, actor: WorkerActor, message: HeartbeatIn) -> HeartbeatOut:
        """Answer a beat, whatever it brings.

        Raises:
            WorkerNotFound: It is not registered, or not by this token.
            WorkerSuperseded: A later process of the same worker has registered.
        """
        async with self.database.transaction(actor) as tx:
            leases, drain = await claiming.renew_leases(tx, actor, message, self.settings)
        return HeartbeatOut(leases=leases, lease_seconds=self.settings.lease_seconds, drain=drain)

    def values(self, credentials: Credentials, message: HeartbeatIn) -> dict[str, Any]:
        """The parameters of a beat."""
        held = message.held
        return {
            "now": self.database.clock.now(),
            "token_prefix": credentials.prefix,
            "token_hash": credentials.token_hash,
            "worker_id": message.worker_id,
            "session_id": message.session_id,
            "worker_status": (WorkerStatus.BUSY if held else WorkerStatus.IDLE).value,
            "lease": self.settings.lease_seconds,
            "order_ids": [claim.order_id for claim in held],
            "fences": [claim.fence for claim in held],
            "phases": [claim.phase.value for claim in held],
        }


def _lease(row: Row) -> LeaseOut:
    state = LeaseState.LOST
    if row["is_to_stop"] is not None:
        state = LeaseState.CANCEL if row["is_to_stop"] else LeaseState.KEPT
    return LeaseOut(order_id=row["order_id"], fence=row["fence"], state=state)

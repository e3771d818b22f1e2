"""Workers' beats, in one statement where nothing is special; else the long way.

The statement looks at the workers' tokens itself, so that a plain beat needs no look-up before it,
and a token that was revoked is refused by the very next beat. What is in doubt is left to the long
way, which does all of it again: a beat may be repeated.

Nobody is in a hurry for the answer to a beat: a worker counts its leases from when it sent it. So
where beats come thick they wait for each other, and share a statement, its commit and its way to
the database, which cost more than the leases of one worker. When a worker was last heard of is for
people, and is written for many at once, too (``LastHeard``).
"""

from collections.abc import Sequence
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
from agentvine.domains.workers.last_heard import LastHeard
from agentvine.kit.actor import WorkerActor
from agentvine.kit.gathering import Gatherer
from agentvine.protocol.queue import HeartbeatIn, HeartbeatOut, LeaseOut, LeaseState

COMPANY_SECONDS = 0.1
"""So long a beat waits for others where the last one came less than that before it."""
_MOST_BEATS = 25
_MOST_ORDERS = 500
_TURNS_AT_ONCE = 2
_SPECIAL = "special"

_TYPES = {
    "now": "timestamptz",
    "lease": "float8",
    "worker_ids": "uuid[]",
    "session_ids": "uuid[]",
    "token_prefixes": "text[]",
    "token_hashes": "text[]",
    "statuses": "text[]",
    "callers": "int[]",
    "order_ids": "uuid[]",
    "fences": "bigint[]",
    "phases": "text[]",
}
_BEAT = {
    "shown": """
        SELECT * FROM unnest(
            :worker_ids, :session_ids, :token_prefixes, :token_hashes, :statuses
        ) WITH ORDINALITY
            AS shown (worker_id, session_id, token_prefix, token_hash, status, place)
    """,
    "caller": f"""
        SELECT shown.place, w.id, w.is_draining, w.token_id, shown.status,
            w.status <> shown.status AS has_changed
        FROM shown JOIN workers w ON w.id = shown.worker_id
        WHERE (w.session_id = shown.session_id) IS TRUE AND w.deleted_at IS NULL
            AND (w.token_id = ({identity.GOOD_WORKER})) IS TRUE
    """,  # noqa: S608  # put together once, at import, from constants
    # Passed over where a claim or a registration holds it: whoever waits for a worker must not hold
    # orders. The next beat notes it.
    "awake": """
        SELECT w.id, caller.status FROM caller JOIN workers w ON w.id = caller.id
        WHERE caller.has_changed
        FOR NO KEY UPDATE OF w SKIP LOCKED
    """,
    "noted": """
        UPDATE workers w SET last_heartbeat_at = :now, status = awake.status
        FROM awake WHERE w.id = awake.id
    """,
    "asked": """
        SELECT * FROM unnest(:callers, :order_ids, :fences, :phases) WITH ORDINALITY
            AS asked (caller, order_id, fence, phase, place)
    """,
    # IS TRUE keeps indexes out of it: each row is looked up by its id, not among all workers of a
    # token, or all that the worker ever finished.
    "picked": """
        SELECT o.id, o.fence, {advances} AS advances
        FROM asked JOIN caller ON caller.place = asked.caller JOIN LATERAL (
            SELECT o.id, o.fence, o.execution_id FROM work_orders o
            WHERE o.id = asked.order_id AND o.fence = asked.fence
                AND (o.worker_id = caller.id) IS TRUE AND (o.status = 'claimed') IS TRUE
            FOR NO KEY UPDATE SKIP LOCKED OFFSET 0
        ) o ON true
    """,
    "renewed": """
        UPDATE work_orders o
        SET lease_expires_at = statement_timestamp() + make_interval(secs => :lease)
        FROM picked
        WHERE o.id = picked.id AND o.fence = picked.fence AND (o.status = 'claimed') IS TRUE
        RETURNING o.id, o.fence, o.worker_id, CASE
            WHEN picked.advances OR (o.controlled_fence = o.fence) IS TRUE THEN 'special'
            WHEN coalesce(o.cancel_requested_at, o.stop_requested_at) IS NOT NULL THEN 'cancel'
            ELSE 'kept'
        END AS state
    """,
}
# One row for all claims of a worker: each row costs the server more than ten states in it. An order
# that is held, but was not renewed, is in somebody's hands at this moment.
_RESULT = """
    SELECT caller.place, caller.token_id, caller.is_draining, string_agg(
        coalesce(renewed.state, CASE WHEN EXISTS (
            SELECT FROM work_orders o
            WHERE o.id = asked.order_id AND o.fence = asked.fence
                AND (o.worker_id = caller.id) IS TRUE AND (o.status = 'claimed') IS TRUE
        ) THEN 'special' ELSE 'lost' END),
        ' ' ORDER BY asked.place
    ) FILTER (WHERE asked.place IS NOT NULL) AS states
    FROM caller LEFT JOIN asked ON asked.caller = caller.place
        LEFT JOIN renewed ON renewed.id = asked.order_id AND renewed.fence = asked.fence
            AND renewed.worker_id = caller.id
    GROUP BY caller.place, caller.token_id, caller.is_draining
"""


@dataclass(frozen=True, slots=True)
class Beat:
    """A worker's message, and what it shows of its token."""

    credentials: Credentials
    message: HeartbeatIn


def beat_statement(advances: str) -> Statement:
    """Whole beats of several workers, each of which may be in it once.

    Args:
        advances: Whether what the worker does in an order ``o`` (``asked.phase``) is news.
    """
    tables = {name: sql.replace("{advances}", advances) for name, sql in _BEAT.items()}
    return Statement(tables, _RESULT, _TYPES)


class Beats:
    """Takes the beats of workers."""

    def __init__(
        self,
        database: Database,
        settings: QueueSettings,
        statement: Statement,
        uses: LastUses,
        heard: LastHeard,
    ) -> None:
        """Prepare; nobody has beaten yet."""
        self._database = database
        self._settings = settings
        self._statement = statement
        self._uses = uses
        self._heard = heard
        self._gathered = Gatherer(
            self.take_many,
            fits=_fits,
            turns_at_once=_TURNS_AT_ONCE,
            worth_a_turn=_MOST_BEATS,
            company_seconds=COMPANY_SECONDS,
        )

    async def take_plain(
        self, credentials: Credentials, message: HeartbeatIn
    ) -> HeartbeatOut | None:
        """Answer a beat in which nothing is special; None where that is not so.

        A token that is not good, or a worker that is not its own, is special.
        """
        if self._database.direct is None:
            return None
        return await self._gathered.join(Beat(credentials, message))

    async def take(self, actor: WorkerActor, message: HeartbeatIn) -> HeartbeatOut:
        """Answer a beat, whatever it brings.

        Raises:
            WorkerNotFound: It is not registered, or not by this token.
            WorkerSuperseded: A later process of the same worker has registered.
        """
        async with self._database.transaction(actor) as tx:
            leases, drain = await claiming.renew_leases(tx, actor, message, self._settings)
        return HeartbeatOut(leases=leases, lease_seconds=self._settings.lease_seconds, drain=drain)

    async def take_many(self, beats: Sequence[Beat]) -> list[HeartbeatOut | None]:
        """Answer several plain beats, of a worker each, by one statement."""
        direct, values = self._database.direct, self.values(beats)
        rows = None if direct is None else await run(self._statement, direct, values)
        if rows is None and len(beats) > 1:  # somebody's values
            return [(await self.take_many([beat]))[0] for beat in beats]
        answers: list[HeartbeatOut | None] = [None] * len(beats)
        for row in rows or ():
            place: int = row["place"] - 1
            message, states = beats[place].message, str(row["states"] or "").split()
            if _SPECIAL not in states:
                self._uses.note(row["token_id"], values["now"])
                self._heard.note(message.worker_id, message.session_id, values["now"])
                answers[place] = self._answer(message, states, row)
        return answers

    def _answer(self, message: HeartbeatIn, states: Sequence[str], row: Row) -> HeartbeatOut:
        return HeartbeatOut(
            leases=[
                LeaseOut(order_id=claim.order_id, fence=claim.fence, state=LeaseState(state))
                for claim, state in zip(message.held, states, strict=True)
            ],
            lease_seconds=self._settings.lease_seconds,
            drain=row["is_draining"],
        )

    def values(self, beats: Sequence[Beat]) -> dict[str, Any]:
        """The parameters of the statement."""
        messages = [beat.message for beat in beats]
        held = [claim for message in messages for claim in message.held]
        return {
            "now": self._database.clock.now(),
            "lease": self._settings.lease_seconds,
            "worker_ids": [message.worker_id for message in messages],
            "session_ids": [message.session_id for message in messages],
            "token_prefixes": [beat.credentials.prefix for beat in beats],
            "token_hashes": [beat.credentials.token_hash for beat in beats],
            "statuses": [
                (WorkerStatus.BUSY if message.held else WorkerStatus.IDLE).value
                for message in messages
            ],
            "callers": [place for place, message in enumerate(messages, 1) for _ in message.held],
            "order_ids": [claim.order_id for claim in held],
            "fences": [claim.fence for claim in held],
            "phases": [claim.phase.value for claim in held],
        }


def _fits(chosen: Sequence[Beat], beat: Beat) -> bool:
    """Whether a beat may share a statement; what a worker says twice would be said once."""
    if len(chosen) >= _MOST_BEATS:
        return False
    held = sum(len(each.message.held) for each in (*chosen, beat))
    is_new = all(each.message.worker_id != beat.message.worker_id for each in chosen)
    return is_new and held <= _MOST_ORDERS

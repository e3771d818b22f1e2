"""When each worker was last heard of: kept in memory, and written for many at once by a chore.

A thousand workers beat fifty times a second. To write each beat into its worker's row cost as much
as renewing its leases. What is noted and not yet written is lost with the process: the time is for
people, and for showing as offline who has been silent for a whole lease. Leases do not hang on it.
"""

import uuid
from dataclasses import dataclass, field
from datetime import datetime

from agentvine.db.blocks import Sql, Statement, Steps
from agentvine.db.session import Database

_STATEMENTS = {"begin": Sql("BEGIN", "")}
_STATEMENTS["write"] = Sql(
    # Passed over where a claim or a registration holds it: whoever waits for one worker must not
    # hold others. The next beat notes it.
    postgres="""
        WITH free AS MATERIALIZED (
            SELECT w.id, heard.at FROM workers w
            JOIN unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS heard (id, session_id, at)
                ON heard.id = w.id
            WHERE (w.session_id = heard.session_id) IS TRUE AND w.deleted_at IS NULL
                AND (w.last_heartbeat_at >= heard.at) IS NOT TRUE
            FOR NO KEY UPDATE OF w SKIP LOCKED
        )
        UPDATE workers w SET last_heartbeat_at = free.at FROM free WHERE w.id = free.id
    """,
    sqlite="""
        UPDATE workers AS w SET last_heartbeat_at = heard.at
        FROM (
            SELECT ids.value AS id, sessions.value AS session_id, times.value AS at
            FROM json_each(?1) ids JOIN json_each(?2) sessions ON sessions.key = ids.key
                JOIN json_each(?3) times ON times.key = ids.key
        ) heard
        WHERE w.id = heard.id AND w.session_id = heard.session_id AND w.deleted_at IS NULL
            AND (w.last_heartbeat_at >= heard.at) IS NOT TRUE
    """,
)


@dataclass(slots=True)
class LastHeard:
    """Remembers which workers were heard of since the last batch."""

    database: Database
    _heard: dict[uuid.UUID, tuple[uuid.UUID, datetime]] = field(
        default_factory=dict[uuid.UUID, tuple[uuid.UUID, datetime]]
    )

    def note(self, worker_id: uuid.UUID, session_id: uuid.UUID, at: datetime) -> None:
        """Remember that a worker's process was heard of."""
        self._heard[worker_id] = (session_id, at)

    async def write(self) -> int:
        """Write what was noted; returns 0, so that its chore waits for its next turn."""
        heard, self._heard = self._heard, {}
        if not heard:
            return 0
        sessions, times = zip(*heard.values(), strict=True)

        def steps() -> Steps:
            yield Statement("write", ([*heard], [*sessions], [*times]))

        try:
            await self.database.run_block(steps(), _STATEMENTS)
        except BaseException:
            self._heard = heard | self._heard  # to be written next time
            raise
        return 0

"""The hot path where nothing is special: a claim, or many completions, in one statement each.

The long way through sessions and reactions costs a hundred times what the database needs. Almost
all claims and completions are plain, and for those one statement does all that the long way does:
the order, the assignment, and the parts that other slices add for their own tables. What is not
plain is left untouched by the statement, and goes the long way; so there is one place for limits,
pauses, changes, cancellations and retries, and every doubt is decided there.

The statements keep the rules of ``store``: one order of locks, nothing that another holds is waited
for, each write checks the fence. Claims of one worker follow each other by its row's
``updated_at``, which every claim that gets orders changes: a claim that saw an older one than there
is when its turn comes takes nothing.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from agentvine.config.settings import QueueSettings
from agentvine.db.direct import Row
from agentvine.db.engine import to_json
from agentvine.db.session import Database
from agentvine.domains.work import store
from agentvine.domains.work.claiming import ClaimResult, filter_for
from agentvine.domains.work.enums import OrderStatus
from agentvine.domains.work.grants import Grant
from agentvine.domains.work.statements import WHO, Parts, Statement, run
from agentvine.domains.workers import queries as workers
from agentvine.kit.actor import WorkerActor
from agentvine.kit.ids import new_id
from agentvine.protocol.queue import ClaimIn, CompleteIn, OrderOutcome

_MAX_PROFILES = 10_000
PROFILE_SECONDS = 5.0
"""So long a worker may be taken for one that can still run what its login no longer lets it."""


_CLAIM_TYPES = {
    **WHO,
    "worker_id": "uuid",
    "session_id": "uuid",
    "token_id": "uuid",
    "claim_token": "text",
    "number": "int",
    "slots": "int",
    "lease": "float8",
    "queue": "text",
    "worker_types": "text[]",
    "runtimes": "text[]",
    "sets": "int[]",
    "newest_set": "int",
    "projects": "uuid[]",
    "execution_ids": "uuid[]",
    "assignment_ids": "uuid[]",
}
_COMPLETE_TYPES = {
    **WHO,
    "token_id": "uuid",
    "reason": "text",
    "order_ids": "uuid[]",
    "fences": "bigint[]",
    "exit_codes": "int[]",
    "durations": "int[]",
    "metrics": "text[]",
    "reports": "text[]",
}

_TURN: Parts = {
    "seen": """
        SELECT id, updated_at FROM workers WHERE id = :worker_id
    """,
    "turn": """
        SELECT w.id, w.max_concurrent_tasks FROM workers w JOIN seen ON w.id = seen.id
        WHERE w.updated_at = seen.updated_at AND w.session_id = :session_id
            AND w.token_id = :token_id AND w.deleted_at IS NULL AND NOT w.is_draining
            AND (:number IS NULL OR w.claim_session_id IS DISTINCT FROM :session_id
                OR w.claim_number < :number)
        FOR NO KEY UPDATE OF w
    """,
    "held": """
        SELECT count(*) AS count, coalesce(bool_or(claim_token = :claim_token), false) AS is_again
        FROM work_orders WHERE worker_id = :worker_id AND status = 'claimed'
    """,
    "room": """
        SELECT least(:slots, turn.max_concurrent_tasks - held.count) AS room FROM turn, held
        WHERE NOT held.is_again AND NOT EXISTS (SELECT FROM work_limits)
            AND coalesce((SELECT max(id) FROM capability_sets), 0) = :newest_set
    """,
}
_PICKED: Parts = {
    "picked": """
        SELECT o.id, o.task_id, o.rank FROM work_orders o
        WHERE o.status = 'pending' AND o.line_id IS NULL AND o.queue_name = :queue
            AND o.available_at <= statement_timestamp()
            AND (o.expires_at IS NULL OR o.expires_at > statement_timestamp()) IS TRUE
            AND (o.runtime IS NULL OR o.runtime = ANY(:runtimes))
            AND (o.capability_set_id IS NULL OR o.capability_set_id = ANY(:sets)) IS TRUE
            AND (:worker_types IS NULL OR o.worker_type IS NULL
                OR o.worker_type = ANY(:worker_types))
            AND (SELECT t.status = 'queued' AND t.repository_id IS NOT NULL
                    AND p.deleted_at IS NULL AND p.is_active
                    AND (:projects IS NULL OR t.project_id = ANY(:projects))
                FROM tasks t JOIN projects p ON p.id = t.project_id WHERE t.id = o.task_id)
        ORDER BY o.rank, o.id LIMIT coalesce((SELECT greatest(room, 0) FROM room), 0)
        FOR NO KEY UPDATE SKIP LOCKED
    """,
    "free": """
        SELECT t.id, t.project_id FROM tasks t
        WHERE t.id = ANY(ARRAY(SELECT task_id FROM picked)) AND (t.status = 'queued') IS TRUE
        FOR NO KEY UPDATE SKIP LOCKED
    """,
    "numbered": """
        SELECT picked.id, free.project_id, row_number() OVER (ORDER BY rank, picked.id) AS n
        FROM picked JOIN free ON free.id = picked.task_id
    """,
    "fresh": """
        SELECT * FROM unnest(:execution_ids, :assignment_ids)
            WITH ORDINALITY AS ids (execution_id, assignment_id, n)
    """,
    "claimed": """
        UPDATE work_orders o SET status = 'claimed', fence = o.fence + 1, worker_id = :worker_id,
            worker_session_id = :session_id, claim_token = :claim_token,
            claimed_at = statement_timestamp(), execution_id = fresh.execution_id,
            lease_expires_at = statement_timestamp() + make_interval(secs => :lease),
            cancel_requested_at = NULL, stop_requested_at = NULL, line_id = NULL, held_limits = NULL
        FROM numbered JOIN fresh USING (n)
        WHERE o.id = numbered.id AND (o.status = 'pending') IS TRUE
        RETURNING o.id, o.task_id, o.rank, o.fence, o.execution_id, o.retry_count, o.runtime,
            o.payload, numbered.project_id, fresh.assignment_id
    """,
    "noted": """
        UPDATE workers w SET updated_at = clock_timestamp(),
            claim_session_id = CASE WHEN :number IS NULL THEN w.claim_session_id
                ELSE :session_id END,
            claim_number = coalesce(:number, w.claim_number)
        FROM turn WHERE w.id = turn.id AND EXISTS (SELECT FROM claimed)
    """,
}
_ASSIGNED: Parts = {
    "assigned": """
        INSERT INTO worker_assignments (
            id, worker_id, work_order_id, status, fence, execution_id, assigned_at, completed_at
        )
        SELECT assignment_id, :worker_id, id, 'active', fence, execution_id, :now, NULL FROM claimed
        ON CONFLICT (worker_id, work_order_id) DO UPDATE SET status = excluded.status,
            fence = excluded.fence, execution_id = excluded.execution_id,
            assigned_at = excluded.assigned_at, completed_at = excluded.completed_at
    """,
}
_CLAIM_RESULT = """
    SELECT room.room, claimed.id, claimed.execution_id, claimed.fence, claimed.retry_count,
        claimed.payload, claimed.project_id
    FROM (SELECT) AS one LEFT JOIN room ON true LEFT JOIN claimed ON true
    ORDER BY claimed.rank, claimed.id
"""

_COMPLETED: Parts = {
    "asked": """
        SELECT * FROM unnest(
            :order_ids, :fences, :exit_codes, :durations, :metrics, :reports
        ) AS asked (order_id, fence, exit_code, duration_seconds, metrics, report)
    """,
    # Each order is looked up by its id (OFFSET 0 keeps the planner from turning this round): by its
    # worker it would be found among all that the worker ever finished.
    "own": """
        SELECT asked.*, o.task_id, t.project_id, t.status AS task_status FROM asked
        JOIN LATERAL (
            SELECT o.task_id FROM work_orders o
            WHERE o.id = asked.order_id AND o.fence = asked.fence
                AND (o.status = 'claimed') IS TRUE AND o.cancel_requested_at IS NULL
                AND o.held_limits IS NULL AND {order_guard}
                AND (SELECT w.token_id = :token_id FROM workers w WHERE w.id = o.worker_id)
            OFFSET 0
        ) o ON true
        JOIN tasks t ON t.id = o.task_id
        WHERE ({task_guard}) IS TRUE
        FOR NO KEY UPDATE OF t SKIP LOCKED
    """,
    "completed": """
        UPDATE work_orders o SET status = 'completed', completed_at = :now, error_message = NULL,
            lease_expires_at = NULL, stop_requested_at = NULL, result = own.report::jsonb
        FROM own
        WHERE o.id = own.order_id AND o.fence = own.fence AND (o.status = 'claimed') IS TRUE
            AND o.cancel_requested_at IS NULL AND o.held_limits IS NULL
        RETURNING o.id, o.fence, o.task_id, o.execution_id, o.worker_id, own.project_id,
            own.task_status, own.exit_code, own.duration_seconds,
            own.metrics::jsonb AS metrics, own.report::jsonb AS report
    """,
}
_UNASSIGNED: Parts = {
    "unassigned": """
        UPDATE worker_assignments s SET status = 'completed', completed_at = :now FROM completed c
        WHERE s.worker_id = c.worker_id AND s.work_order_id = c.id AND s.status = 'active'
    """,
}
_COMPLETE_RESULT = "SELECT id, fence, execution_id, project_id FROM completed"


def claim_statement(parts: Parts = _ASSIGNED) -> Statement:
    """A claim; with no parts, of the orders alone."""
    return Statement({**_TURN, **_PICKED, **parts}, _CLAIM_RESULT, _CLAIM_TYPES)


def complete_statement(
    parts: Parts = _UNASSIGNED, *, order_guard: str = "true", task_guard: str = "true"
) -> Statement:
    """Many completions; with no parts, of the orders alone.

    Args:
        parts: What else is done.
        order_guard: What must hold for an order ``o`` in order to be plain.
        task_guard: The same for its task ``t``.
    """
    tables = {
        name: sql.replace("{order_guard}", order_guard).replace("{task_guard}", task_guard)
        for name, sql in _COMPLETED.items()
    }
    return Statement({**tables, **parts}, _COMPLETE_RESULT, _COMPLETE_TYPES)


@dataclass(frozen=True, slots=True)
class Plain:
    """What other slices do in the statements of plain claims and completions."""

    claim: Statement
    complete: Statement
    reason: str
    """Why a task is finished whose run changed nothing."""

    @classmethod
    def with_parts(
        cls, *, claimed: Parts, completed: Parts, order_guard: str, task_guard: str, reason: str
    ) -> "Plain":
        """The statements of the whole life."""
        complete = complete_statement(
            {**_UNASSIGNED, **completed}, order_guard=order_guard, task_guard=task_guard
        )
        return cls(claim_statement({**_ASSIGNED, **claimed}), complete, reason)


@dataclass(slots=True)
class _Profile:
    """What a worker's process can take, as it was when it was last looked up."""

    session_id: uuid.UUID
    wanted: store.ClaimFilter
    until: float
    """On the monotonic clock: after that it is looked up again."""


@dataclass(slots=True)
class Shortcuts:
    """Tries the statements; whoever gets None, or misses an order, goes the long way."""

    database: Database
    settings: QueueSettings
    plain: Plain
    _profiles: dict[uuid.UUID, _Profile] = field(default_factory=dict[uuid.UUID, _Profile])

    def learn(self, message: ClaimIn, wanted: store.ClaimFilter) -> None:
        """Remember what a worker can take, for a while: it changes with its logins' limits."""
        if len(self._profiles) >= _MAX_PROFILES:
            self._profiles.clear()
        until = self.database.clock.monotonic() + PROFILE_SECONDS
        self._profiles[message.worker_id] = _Profile(message.session_id, wanted, until)

    async def _wanted_by(self, actor: WorkerActor, message: ClaimIn) -> store.ClaimFilter:
        profile = self._profiles.get(message.worker_id)
        clock = self.database.clock
        is_fresh = profile is not None and clock.monotonic() < profile.until
        if profile is not None and is_fresh and profile.session_id == message.session_id:
            return profile.wanted
        async with self.database.read() as read:
            worker = await workers.get_calling_worker(
                read, actor, message.worker_id, message.session_id
            )
            wanted = await filter_for(read, worker, actor, clock.now())
        self.learn(message, wanted)
        return wanted

    async def claim(self, actor: WorkerActor, message: ClaimIn) -> ClaimResult | None:
        """Claim in one statement; None when that is not for it to decide.

        Raises:
            WorkerNotFound: It is not registered, or not by this token.
            WorkerSuperseded: A later process of the same worker has registered.
        """
        direct = self.database.direct
        if direct is None:
            return None
        wanted = await self._wanted_by(actor, message)
        if len(wanted.queues) != 1:
            return None
        rows = await run(self.plain.claim, direct, self.claim_values(actor, message, wanted))
        room = rows[0]["room"] if rows else None
        if room is None:
            return None
        self._tell({str(row["project_id"]) for row in rows if row["id"] is not None})
        if room <= 0:
            return ClaimResult([])
        granted = [self._granted(row) for row in rows if row["id"] is not None]
        return ClaimResult(granted, wanted, room)

    async def complete(
        self, actor: WorkerActor, messages: Sequence[CompleteIn]
    ) -> dict[uuid.UUID, OrderOutcome]:
        """Complete what is plain, in one statement; by order, and only what was done."""
        direct = self.database.direct
        plain = [plain for plain in map(values_of, messages) if plain is not None]
        if direct is None or not plain:
            return {}
        rows = await run(self.plain.complete, direct, self.complete_values(actor, plain))
        self._tell({str(row["project_id"]) for row in rows})
        for row in rows:
            self.database.hints.publish("logs", str(row["execution_id"]))
        return {
            row["id"]: OrderOutcome(order_id=row["id"], status=OrderStatus.COMPLETED)
            for row in rows
        }

    def claim_values(
        self, actor: WorkerActor, message: ClaimIn, wanted: store.ClaimFilter
    ) -> dict[str, Any]:
        """The parameters of a claim."""
        return self._who(actor) | {
            "worker_id": message.worker_id,
            "session_id": message.session_id,
            "claim_token": message.claim_token,
            "number": message.number,
            "slots": message.slots,
            "lease": self.settings.lease_seconds,
            "queue": wanted.queues[0],
            "worker_types": list(wanted.worker_types) or None,
            "runtimes": list(wanted.runtimes),
            "sets": list(wanted.capability_sets),
            "newest_set": wanted.newest_set,
            "projects": list(wanted.projects) or None,
            "execution_ids": [new_id() for _ in range(message.slots)],
            "assignment_ids": [new_id() for _ in range(message.slots)],
        }

    def complete_values(
        self, actor: WorkerActor, plain: Sequence[Mapping[str, object]]
    ) -> dict[str, Any]:
        """The parameters of many completions, from those of each."""
        columns = {name: [each[name] for each in plain] for name in plain[0]}
        return self._who(actor) | columns | {"reason": self.plain.reason}

    def _who(self, actor: WorkerActor) -> dict[str, Any]:
        now: datetime = self.database.clock.now()
        return {
            "now": now,
            "token_id": actor.token_id,
            "actor_type": actor.actor_id.partition(":")[0],
            "actor_id": actor.actor_id,
            "actor_label": actor.label,
            "request_id": structlog.contextvars.get_contextvars().get("request_id"),
        }

    def _tell(self, projects: set[str]) -> None:
        # Executions are told of without their project.
        for project in {"", *projects} if projects else ():
            self.database.hints.publish("events", project)

    def _granted(self, row: Row) -> Grant:
        return Grant(
            order_id=row["id"],
            execution_id=row["execution_id"],
            fence=row["fence"],
            attempt=row["retry_count"] + 1,
            lease_seconds=self.settings.lease_seconds,
            payload=row["payload"],
        )


def values_of(message: CompleteIn) -> dict[str, object] | None:
    """The values of one completion; None when it is not plain."""
    report = message.report
    if report.change is not None:
        return None
    try:
        metrics = to_json(
            {
                **report.metrics,
                "duration_seconds": report.duration_seconds,
                "peak_memory_bytes": report.peak_memory_bytes,
            }
        )
    except ValueError:
        return None
    return {
        "order_ids": message.order_id,
        "fences": message.fence,
        "exit_codes": report.exit_code,
        "durations": round(report.duration_seconds),
        "metrics": metrics,
        "reports": report.model_dump_json(),
    }

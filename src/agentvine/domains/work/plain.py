"""The statements of plain claims and completions: what is done to the queue, and room for more.

Each slice adds the parts about its own tables; ``reactions/shortcuts.py`` puts them together. The
statements keep the rules of ``store``: one order of locks, nothing that another holds is waited
for, each write checks the fence. They take what several callers ask at once.

Claims of one worker follow each other by its row's ``updated_at``, which every claim that gets
orders changes: a claim that saw an older one than there is when its turn comes takes nothing.
"""

from dataclasses import dataclass

from agentvine.domains.work.statements import Parts, Statement

_CALLERS = {
    "now": "timestamptz",
    "token_ids": "uuid[]",
    "labels": "text[]",
    "request_ids": "text[]",
}
"""Who asks each of the things that are asked together, and when all of it happens."""
_CLAIM_TYPES = {
    **_CALLERS,
    "worker_ids": "uuid[]",
    "session_ids": "uuid[]",
    "claim_tokens": "text[]",
    "numbers": "int[]",
    "slots": "int[]",
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
    **_CALLERS,
    "reason": "text",
    "order_ids": "uuid[]",
    "fences": "bigint[]",
    "exit_codes": "int[]",
    "durations": "int[]",
    "metrics": "text[]",
    "reports": "text[]",
}

_TURN: Parts = {
    "asked": """
        SELECT * FROM unnest(
            :worker_ids, :session_ids, :token_ids, :labels, :request_ids, :claim_tokens, :numbers,
            :slots
        ) WITH ORDINALITY AS asked (
            worker_id, session_id, token_id, label, request_id, claim_token, number, slots, place
        )
    """,
    "seen": """
        SELECT id, updated_at FROM workers WHERE id = ANY(:worker_ids)
    """,
    # Passed over where somebody else holds it: a statement that waited for one worker would keep
    # the others from theirs. IS TRUE keeps indexes out of it: each is looked up by its id.
    "turn": """
        SELECT asked.*, w.max_concurrent_tasks FROM asked JOIN seen ON seen.id = asked.worker_id
            JOIN workers w ON w.id = asked.worker_id
        WHERE w.updated_at = seen.updated_at AND (w.session_id = asked.session_id) IS TRUE
            AND (w.token_id = asked.token_id) IS TRUE AND w.deleted_at IS NULL
            AND NOT w.is_draining
            AND (asked.number IS NULL OR w.claim_session_id IS DISTINCT FROM asked.session_id
                OR w.claim_number < asked.number)
        FOR NO KEY UPDATE OF w SKIP LOCKED
    """,
    "room": """
        SELECT turn.*, least(turn.slots, turn.max_concurrent_tasks - held.count) AS room
        FROM turn CROSS JOIN LATERAL (
            SELECT count(*) AS count,
                coalesce(bool_or(o.claim_token = turn.claim_token), false) AS is_again
            FROM work_orders o WHERE o.worker_id = turn.worker_id AND o.status = 'claimed'
        ) held
        WHERE NOT held.is_again AND NOT EXISTS (SELECT FROM work_limits)
            AND coalesce((SELECT max(id) FROM capability_sets), 0) = :newest_set
    """,
    "shares": """
        SELECT room.*, (sum(room) OVER (ORDER BY place))::bigint AS upto FROM room WHERE room > 0
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
        ORDER BY o.rank, o.id LIMIT coalesce((SELECT max(upto) FROM shares), 0)
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
    "claimed": """
        UPDATE work_orders o SET status = 'claimed', fence = o.fence + 1, worker_id = s.worker_id,
            worker_session_id = s.session_id, claim_token = s.claim_token,
            claimed_at = statement_timestamp(), execution_id = (:execution_ids)[numbered.n],
            lease_expires_at = statement_timestamp() + make_interval(secs => :lease),
            cancel_requested_at = NULL, stop_requested_at = NULL, line_id = NULL, held_limits = NULL
        FROM numbered JOIN shares s ON numbered.n > s.upto - s.room AND numbered.n <= s.upto
        WHERE o.id = numbered.id AND (o.status = 'pending') IS TRUE
        RETURNING o.id, o.task_id, o.rank, o.fence, o.execution_id, o.retry_count, o.runtime,
            o.payload, numbered.project_id, (:assignment_ids)[numbered.n] AS assignment_id,
            s.place, s.worker_id, s.token_id, s.label, s.request_id
    """,
    "noted": """
        UPDATE workers w SET updated_at = clock_timestamp(),
            claim_session_id = CASE WHEN s.number IS NULL THEN w.claim_session_id
                ELSE s.session_id END,
            claim_number = coalesce(s.number, w.claim_number)
        FROM shares s WHERE w.id = s.worker_id AND s.place IN (SELECT place FROM claimed)
    """,
}
_ASSIGNED: Parts = {
    "assigned": """
        INSERT INTO worker_assignments (
            id, worker_id, work_order_id, status, fence, execution_id, assigned_at, completed_at
        )
        SELECT assignment_id, worker_id, id, 'active', fence, execution_id, :now, NULL FROM claimed
        ON CONFLICT (worker_id, work_order_id) DO UPDATE SET status = excluded.status,
            fence = excluded.fence, execution_id = excluded.execution_id,
            assigned_at = excluded.assigned_at, completed_at = excluded.completed_at
    """,
}
_CLAIM_RESULT = """
    SELECT asked.place, room.room, claimed.id, claimed.execution_id, claimed.fence,
        claimed.retry_count, claimed.payload, claimed.project_id
    FROM asked LEFT JOIN room ON room.place = asked.place
        LEFT JOIN claimed ON claimed.place = asked.place
    ORDER BY claimed.rank, claimed.id
"""

_COMPLETED: Parts = {
    "asked": """
        SELECT order_id, fence, exit_code, duration_seconds, metrics::jsonb AS metrics,
            report::jsonb AS report, token_id, label, request_id
        FROM unnest(
            :order_ids, :fences, :exit_codes, :durations, :metrics, :reports, :token_ids, :labels,
            :request_ids
        ) AS asked (
            order_id, fence, exit_code, duration_seconds, metrics, report, token_id, label,
            request_id
        )
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
                AND (SELECT w.token_id = asked.token_id FROM workers w WHERE w.id = o.worker_id)
            OFFSET 0
        ) o ON true
        JOIN tasks t ON t.id = o.task_id
        WHERE ({task_guard}) IS TRUE
        FOR NO KEY UPDATE OF t SKIP LOCKED
    """,
    "completed": """
        UPDATE work_orders o SET status = 'completed', completed_at = :now, error_message = NULL,
            lease_expires_at = NULL, stop_requested_at = NULL, result = own.report
        FROM own
        WHERE o.id = own.order_id AND o.fence = own.fence AND (o.status = 'claimed') IS TRUE
            AND o.cancel_requested_at IS NULL AND o.held_limits IS NULL
        RETURNING o.id, o.fence, o.task_id, o.execution_id, o.worker_id, own.project_id,
            own.task_status, own.exit_code, own.duration_seconds, own.metrics, own.report,
            own.token_id, own.label, own.request_id
    """,
}
_UNASSIGNED: Parts = {
    # Found by its order, of which there are few: not among all that are active, nor among all that
    # the worker ever had.
    "unassigned": """
        UPDATE worker_assignments s SET status = 'completed', completed_at = :now FROM completed c
        WHERE s.work_order_id = c.id AND (s.worker_id = c.worker_id) IS TRUE
            AND (s.status = 'active') IS TRUE
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

"""Plain claims and completions: when they are plain, and what they write.

Each slice adds the parts about its own tables; ``reactions/shortcuts.py`` puts them together.
PostgreSQL does all of it in one statement (``plain_statements``), SQLite in short ones for each
order (``plain_rows``): the conditions and the parts are the same text. It is PostgreSQL's;
``db/rowwise.py`` has the few words that SQLite says otherwise.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentvine.domains.work.statements import Parts

_WORDS = {
    # Whether the worker ``w`` is the one that asks, and this is not an older claim of its.
    # IS TRUE keeps indexes out of it: each worker is looked up by its id.
    "may_claim": """
        (w.session_id = asked.session_id) IS TRUE AND (w.token_id = asked.token_id) IS TRUE
        AND w.deleted_at IS NULL AND NOT w.is_draining
        AND (asked.number IS NULL OR w.claim_session_id IS DISTINCT FROM asked.session_id
            OR w.claim_number < asked.number)
    """,
    # Whether there is no limit, and no requirement of which it was not asked yet who meets it.
    "nothing_is_new": """
        NOT EXISTS (SELECT FROM work_limits)
        AND coalesce((SELECT max(id) FROM capability_sets), 0) = :newest_set
    """,
    # Whether the order ``o`` can be taken by those who want this.
    "is_ready": """
        o.status = 'pending' AND o.line_id IS NULL AND o.queue_name = :queue
        AND o.available_at <= statement_timestamp()
        AND (o.expires_at IS NULL OR o.expires_at > statement_timestamp()) IS TRUE
        AND (o.runtime IS NULL OR o.runtime = ANY(:runtimes))
        AND (o.capability_set_id IS NULL OR o.capability_set_id = ANY(:sets)) IS TRUE
        AND (:worker_types IS NULL OR o.worker_type IS NULL OR o.worker_type = ANY(:worker_types))
        AND (SELECT t.status = 'queued' AND t.repository_id IS NOT NULL
                AND p.deleted_at IS NULL AND p.is_active
                AND (:projects IS NULL OR t.project_id = ANY(:projects))
            FROM tasks t JOIN projects p ON p.id = t.project_id WHERE t.id = o.task_id)
    """,
    # What becomes of an order ``o`` that ``s`` claims.
    "as_claimed": """
        status = 'claimed', fence = o.fence + 1, worker_id = s.worker_id,
        worker_session_id = s.session_id, claim_token = s.claim_token,
        claimed_at = statement_timestamp(),
        lease_expires_at = statement_timestamp() + make_interval(secs => :lease),
        cancel_requested_at = NULL, stop_requested_at = NULL, line_id = NULL, held_limits = NULL
    """,
    # What becomes of the worker ``w`` whose claim ``s`` got orders.
    "as_noted": """
        claim_session_id = CASE WHEN s.number IS NULL THEN w.claim_session_id ELSE s.session_id END,
        claim_number = coalesce(s.number, w.claim_number)
    """,
    # Whether the order ``o`` is held by the one who completes it, and nothing is special about it.
    "is_held": """
        o.id = asked.order_id AND o.fence = asked.fence AND (o.status = 'claimed') IS TRUE
        AND o.cancel_requested_at IS NULL AND o.held_limits IS NULL
        AND (SELECT w.token_id = asked.token_id FROM workers w WHERE w.id = o.worker_id)
    """,
    # What becomes of an order ``o`` that is completed as ``own`` says.
    "as_completed": """
        status = 'completed', completed_at = :now, error_message = NULL, lease_expires_at = NULL,
        stop_requested_at = NULL, result = own.report
    """,
}
"""Conditions and changes, by the names by which the statements of both databases mention them."""
_ASSIGNED: Parts = {
    # WHERE: without it SQLite takes ON for a join's.
    "assigned": """
        INSERT INTO worker_assignments (
            id, worker_id, work_order_id, status, fence, execution_id, assigned_at, completed_at
        )
        SELECT assignment_id, worker_id, id, 'active', fence, execution_id, :now, NULL FROM claimed
        WHERE true
        ON CONFLICT (worker_id, work_order_id) DO UPDATE SET status = excluded.status,
            fence = excluded.fence, execution_id = excluded.execution_id,
            assigned_at = excluded.assigned_at, completed_at = excluded.completed_at
    """,
}
_UNASSIGNED: Parts = {
    # Found by its order, of which there are few: not among all that are active, nor among all that
    # the worker ever had.
    "unassigned": """
        UPDATE worker_assignments AS s SET status = 'completed', completed_at = :now
        FROM completed c
        WHERE s.work_order_id = c.id AND (s.worker_id = c.worker_id) IS TRUE
            AND (s.status = 'active') IS TRUE
    """,
}


@dataclass(frozen=True, slots=True)
class Plain:
    """What is done for the rows of ``claimed`` and ``completed`` besides the orders themselves."""

    claimed: Parts = field(default_factory=dict[str, str])
    completed: Parts = field(default_factory=dict[str, str])
    order_guard: str = "true"
    """What must hold for an order ``o`` in order to be completed plainly."""
    task_guard: str = "true"
    """The same for its task ``t``."""
    reason: str = ""
    """Why a task is finished whose run changed nothing."""

    @classmethod
    def with_parts(
        cls,
        *,
        claimed: Mapping[str, str],
        completed: Mapping[str, str],
        order_guard: str,
        task_guard: str,
        reason: str,
    ) -> "Plain":
        """The whole life: assignments, and what the slices above and below add."""
        return cls(
            {**_ASSIGNED, **claimed},
            {**_UNASSIGNED, **completed},
            order_guard,
            task_guard,
            reason,
        )

    def filled(self, sql: str) -> str:
        """A statement in which ``{may_claim}`` and the like are replaced by what they mean."""
        words = {**_WORDS, "order_guard": self.order_guard, "task_guard": self.task_guard}
        return re.sub(r"\{(\w+)\}", lambda found: words[found[1]], sql)

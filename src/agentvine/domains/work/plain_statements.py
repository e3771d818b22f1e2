"""Plain claims and completions on PostgreSQL: many claims, or many completions, in one statement.

The statements keep the rules of ``store``: one order of locks, nothing that another holds is waited
for, each write checks the fence.

Claims of one worker follow each other by its row's ``updated_at``, which every claim that gets
orders changes: a claim that saw an older one than there is when its turn comes takes nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from agentvine.config.settings import QueueSettings
from agentvine.db.direct import Direct, Row
from agentvine.db.session import Database
from agentvine.domains.work.asked import (
    MOST_AT_ONCE,
    Claiming,
    Completing,
    orders_of,
    tell_of_claims,
    tell_of_completions,
)
from agentvine.domains.work.plain import Plain
from agentvine.domains.work.statements import Parts, Statement, run
from agentvine.kit.actor import WorkerActor
from agentvine.kit.gathering import Gatherer
from agentvine.kit.ids import new_id

_TURNS = 2
"""Statements of a kind under way: what comes meanwhile goes together."""
_WORTH_A_STATEMENT = 4
"""So many who ask: fewer are quicker served in one statement than in two at the same time."""
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
        WHERE w.updated_at = seen.updated_at AND {may_claim}
        FOR NO KEY UPDATE OF w SKIP LOCKED
    """,
    "room": """
        SELECT turn.*, least(turn.slots, turn.max_concurrent_tasks - held.count) AS room
        FROM turn CROSS JOIN LATERAL (
            SELECT count(*) AS count,
                coalesce(bool_or(o.claim_token = turn.claim_token), false) AS is_again
            FROM work_orders o WHERE o.worker_id = turn.worker_id AND o.status = 'claimed'
        ) held
        WHERE NOT held.is_again AND {nothing_is_new}
    """,
    "shares": """
        SELECT room.*, (sum(room) OVER (ORDER BY place))::bigint AS upto FROM room WHERE room > 0
    """,
}
_PICKED: Parts = {
    "picked": """
        SELECT o.id, o.task_id, o.rank FROM work_orders o WHERE {is_ready}
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
        UPDATE work_orders AS o
        SET {as_claimed}, execution_id = (:execution_ids)[numbered.n]
        FROM numbered JOIN shares s ON numbered.n > s.upto - s.room AND numbered.n <= s.upto
        WHERE o.id = numbered.id AND (o.status = 'pending') IS TRUE
        RETURNING o.id, o.task_id, o.rank, o.fence, o.execution_id, o.retry_count, o.runtime,
            o.payload, numbered.project_id, (:assignment_ids)[numbered.n] AS assignment_id,
            s.place, s.worker_id, s.token_id, s.label, s.request_id
    """,
    "noted": """
        UPDATE workers AS w SET updated_at = clock_timestamp(), {as_noted}
        FROM shares s WHERE w.id = s.worker_id AND s.place IN (SELECT place FROM claimed)
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
    # Each order is looked up by its id (OFFSET 0 keeps the planner from turning this round): by
    # its worker it would be found among all that the worker ever finished.
    "own": """
        SELECT asked.*, o.task_id, t.project_id, t.status AS task_status FROM asked
        JOIN LATERAL (
            SELECT o.task_id FROM work_orders o
            WHERE {is_held} AND {order_guard}
            OFFSET 0
        ) o ON true
        JOIN tasks t ON t.id = o.task_id
        WHERE ({task_guard}) IS TRUE
        FOR NO KEY UPDATE OF t SKIP LOCKED
    """,
    "completed": """
        UPDATE work_orders AS o SET {as_completed} FROM own
        WHERE o.id = own.order_id AND o.fence = own.fence AND (o.status = 'claimed') IS TRUE
            AND o.cancel_requested_at IS NULL AND o.held_limits IS NULL
        RETURNING o.id, o.fence, o.task_id, o.execution_id, o.worker_id, own.project_id,
            own.task_status, own.exit_code, own.duration_seconds, own.metrics, own.report,
            own.token_id, own.label, own.request_id
    """,
}
_COMPLETE_RESULT = "SELECT id, fence, execution_id, project_id FROM completed"


class PlainStatements:
    """Gathers what several workers ask into the next statement."""

    def __init__(
        self, database: Database, direct: Direct, settings: QueueSettings, described: Plain
    ) -> None:
        """Prepare; nobody has asked yet."""
        self._database = database
        self._direct = direct
        self._settings = settings
        self._reason = described.reason
        claim = {**_TURN, **_PICKED, **described.claimed}
        complete = {**_COMPLETED, **described.completed}
        self.claim_statement = _statement(described, claim, _CLAIM_RESULT, _CLAIM_TYPES)
        self.complete_statement = _statement(described, complete, _COMPLETE_RESULT, _COMPLETE_TYPES)
        self._claims = Gatherer(
            self._claim_together,
            fits=_claims_fit,
            turns_at_once=_TURNS,
            worth_a_turn=_WORTH_A_STATEMENT,
        )
        self._completions = Gatherer(
            self._complete_together,
            fits=_completions_fit,
            turns_at_once=_TURNS,
            worth_a_turn=_WORTH_A_STATEMENT,
        )

    async def claim(self, claiming: Claiming) -> Sequence[Row]:
        """What a claim is granted: see ``Way``."""
        return await self._claims.join(claiming)

    async def complete(self, completing: Completing) -> Sequence[Row]:
        """What is completed: see ``Way``."""
        return await self._completions.join(completing)

    async def _claim_together(self, claims: Sequence[Claiming]) -> Sequence[Sequence[Row]]:
        rows = await run(self.claim_statement, self._direct, self.claim_values(claims))
        if rows is None:  # somebody's values are refused
            return [
                [] if len(claims) == 1 else (await self._claim_together([claim]))[0]
                for claim in claims
            ]
        tell_of_claims(self._database.hints, rows)
        answers: defaultdict[int, list[Row]] = defaultdict(list)
        for row in rows:
            answers[row["place"]].append(row)
        return [answers[place] for place in range(1, len(claims) + 1)]

    async def _complete_together(self, asked: Sequence[Completing]) -> Sequence[Sequence[Row]]:
        rows = await run(self.complete_statement, self._direct, self.complete_values(asked))
        if rows is None:
            return [
                [] if len(asked) == 1 else (await self._complete_together([each]))[0]
                for each in asked
            ]
        tell_of_completions(self._database.hints, rows)
        done = {row["id"]: row for row in rows}
        return [[done[order] for order in orders_of(each) & done.keys()] for each in asked]

    def claim_values(self, claims: Sequence[Claiming]) -> dict[str, Any]:
        """The parameters of claims that want the same."""
        wanted, messages = claims[0].wanted, [each.message for each in claims]
        fresh = range(sum(message.slots for message in messages))
        return self._callers([(each.actor, each.request_id) for each in claims]) | {
            "worker_ids": [message.worker_id for message in messages],
            "session_ids": [message.session_id for message in messages],
            "claim_tokens": [message.claim_token for message in messages],
            "numbers": [message.number for message in messages],
            "slots": [message.slots for message in messages],
            "lease": self._settings.lease_seconds,
            "queue": wanted.queues[0],
            "worker_types": list(wanted.worker_types) or None,
            "runtimes": list(wanted.runtimes),
            "sets": list(wanted.capability_sets),
            "newest_set": wanted.newest_set,
            "projects": list(wanted.projects) or None,
            "execution_ids": [new_id() for _ in fresh],
            "assignment_ids": [new_id() for _ in fresh],
        }

    def complete_values(self, asked: Sequence[Completing]) -> dict[str, Any]:
        """The parameters of many completions, from those of each."""
        every = [values for each in asked for values in each.plain]
        callers = [(each.actor, each.request_id) for each in asked for _ in each.plain]
        return self._callers(callers) | {
            "reason": self._reason,
            "order_ids": [values["order_id"] for values in every],
            "fences": [values["fence"] for values in every],
            "exit_codes": [values["exit_code"] for values in every],
            "durations": [values["duration_seconds"] for values in every],
            "metrics": [values["metrics"] for values in every],
            "reports": [values["report"] for values in every],
        }

    def _callers(self, callers: Sequence[tuple[WorkerActor, str | None]]) -> dict[str, Any]:
        return {
            "now": self._database.clock.now(),
            "token_ids": [actor.token_id for actor, _ in callers],
            "labels": [actor.label for actor, _ in callers],
            "request_ids": [request_id for _, request_id in callers],
        }


def _statement(described: Plain, parts: Parts, result: str, types: Mapping[str, str]) -> Statement:
    tables = {name: described.filled(sql) for name, sql in parts.items()}
    return Statement(tables, result, types)


def _claims_fit(chosen: Sequence[Claiming], claim: Claiming) -> bool:
    # Two claims of one worker follow each other; those who want different things are asked apart.
    return (
        claim.wanted == chosen[0].wanted
        and all(each.message.worker_id != claim.message.worker_id for each in chosen)
        and sum(each.message.slots for each in (*chosen, claim)) <= MOST_AT_ONCE
    )


def _completions_fit(chosen: Sequence[Completing], asked: Completing) -> bool:
    # Two reports about one order follow each other, too.
    orders = orders_of(asked)
    return sum(len(each.plain) for each in (*chosen, asked)) <= MOST_AT_ONCE and all(
        orders.isdisjoint(orders_of(each)) for each in chosen
    )

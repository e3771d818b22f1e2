"""What becomes of executions in one statement with their orders: parts for ``work/plain.py``.

They do what ``service.begin_execution`` and ``service.end_execution`` do; its agent is the
one that its task is assigned to, as in ``reactions/attempts.py``.
"""

from agentvine.domains.identity.shortcuts import announced

BEGUN = {
    "executions_begun": """
        INSERT INTO executions (
            id, task_id, worker_id, work_order_id, agent_id, status, phase, runtime, fence,
            attempt, metrics, started_at
        )
        SELECT execution_id, task_id, worker_id, id,
            (SELECT t.assigned_to_agent_id FROM tasks t WHERE t.id = claimed.task_id),
            'running', 'starting', runtime, fence, retry_count + 1, '{}', :now
        FROM claimed
    """,
    "executions_begun_event": announced(
        "claimed",
        "execution.started",
        entity="execution execution_id",
        project="NULL::uuid",
        payload="jsonb_build_object('task_id', task_id::text, 'attempt', retry_count + 1)",
    ),
}
"""For the rows of ``claimed``."""

RUNS = "(SELECT e.status = 'running' FROM executions e WHERE e.id = o.execution_id)"
"""Whether the execution of an order ``o`` can end; found by its id, not among all that run."""

ADVANCES = """
    coalesce((
        SELECT e.status = 'running' AND e.phase <> asked.phase FROM executions e
        WHERE e.id = o.execution_id
    ), false)
"""
"""Whether what a worker does in an order ``o`` is news: ``service.is_news``."""

ENDED = {
    "executions_ended": """
        UPDATE executions AS e SET status = 'completed', phase = 'finished', failure_class = NULL,
            failure_message = NULL, completed_at = :now, exit_code = c.exit_code,
            duration_seconds = c.duration_seconds, metrics = c.metrics, report = c.report
        FROM completed c WHERE e.id = c.execution_id
    """,
    "executions_ended_event": announced(
        "completed",
        "execution.completed",
        entity="execution execution_id",
        project="NULL::uuid",
        payload="jsonb_build_object('task_id', task_id::text)",
    ),
}
"""For the rows of ``completed``."""

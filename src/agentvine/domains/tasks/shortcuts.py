"""What becomes of tasks in one statement with their orders: parts for ``work/plain.py``.

They do what ``states.set_status`` and ``service.finish_task`` do for a task on which no other
waits.
"""

from agentvine.domains.identity.shortcuts import announced, recorded

_REASONLESS = "jsonb_build_object('status', '{status}', 'reason', NULL)"

STARTED = {
    "tasks_started": """
        UPDATE tasks AS t SET status = 'in_progress', status_reason = NULL, completed_at = NULL,
            started_at = coalesce(t.started_at, :now), assigned_to = c.worker_id,
            row_version = t.row_version + 1
        FROM claimed c WHERE t.id = c.task_id
    """,
    "tasks_started_audit": recorded(
        "claimed",
        "task.in_progress",
        entity="task task_id",
        before="jsonb_build_object('status', 'queued')",
        after=_REASONLESS.format(status="in_progress"),
    ),
    "tasks_started_event": announced(
        "claimed",
        "task.in_progress",
        entity="task task_id",
        project="project_id",
        payload=_REASONLESS.format(status="in_progress"),
    ),
}
"""For the rows of ``claimed``, whose tasks are locked and queued."""

CAN_FINISH = """
    t.status IN ('in_progress', 'testing')
    AND NOT EXISTS (SELECT FROM task_dependencies d WHERE d.depends_on_task_id = t.id)
    AND NOT EXISTS (SELECT FROM task_files f WHERE f.task_id = t.id)
"""
"""Whether a task ``t`` can be finished without looking at others.

Who adds a dependency in the instant between this look and the commit is found by the chore that
frees what nothing holds back.
"""

_COMPLETED = "jsonb_build_object('status', 'completed', 'reason', :reason)"

FINISHED = {
    "tasks_finished": """
        UPDATE tasks AS t SET status = 'completed', status_reason = :reason, completed_at = :now,
            row_version = t.row_version + 1
        FROM completed c WHERE t.id = c.task_id
    """,
    "tasks_finished_audit": recorded(
        "completed",
        "task.completed",
        entity="task task_id",
        before="jsonb_build_object('status', task_status)",
        after=_COMPLETED,
    ),
    "tasks_finished_event": announced(
        "completed",
        "task.completed",
        entity="task task_id",
        project="project_id",
        payload=_COMPLETED,
    ),
}
"""For the rows of ``completed``, whose tasks are locked and running."""

"""When no change waits for a task's end: for the statement that completes tasks at once."""

NONE_WAITS = "NOT EXISTS (SELECT FROM modifications m WHERE m.task_id = t.id)"
"""Whether nobody asked for the task ``t`` in words, and no earlier attempt changed anything."""

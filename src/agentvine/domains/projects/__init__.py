"""What people own: projects, their members and repositories and project contexts.

Invariants: a project has exactly one owner; a path is registered as a repository once; the
numbers of a project's tasks come from `next_task_number` and are never given twice; values in a
context's `environment_vars` are encrypted, their names readable.
"""

"""The processes that claim work, and what each of them can do.

Invariants: a worker's name is unique; a capability is listed once per worker, with its level.
"""

"""Units of work and what each of them waits for.

Invariants: a task's number is unique in its project; a task does not depend on itself, and a pair
of tasks has one dependency at most; the graph has no cycle (checked by the service).
"""

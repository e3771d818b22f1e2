"""From plans to work: their steps become tasks, their code changes a commit.

Invariants: a step of a plan version becomes one task, however often the version is accepted; what
a newer version wants of running tasks is shown before it is done.
"""

"""From a line of a branch back to the change, the run, the task, the plan and the agent behind it.

It owns no tables. Invariant: what a commit's message names is believed only where the database
says the same of this repository, and shown only to those who may see it.
"""

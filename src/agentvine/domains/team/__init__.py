"""Team runs: a goal, from the plan to the merged change, by agents that check each other.

What comes next follows from the rows alone (``arrows.py``): whoever looks, after whatever death,
finds the same. Invariants: a step of a role, round and number is there once; a round has one
verdict of each kind at most; nothing is merged into the target branch that was not approved.
"""

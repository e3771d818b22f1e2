"""Tokens and money: what was used, the budgets, and what is spent and reserved of them.

Invariants: one request is counted once; amounts are exact, never floats; spent and reserved never
pass a blocking budget.
"""

"""The queue: orders, who holds them, and what they require.

Invariants: the fence of an order grows with every claim; whatever a worker writes carries the
fence of its claim and is refused when a later one exists.
"""

"""Attempts: one execution per claim, its log, and the bundle of commits it produced.

Invariants: an order has one execution per fence; a log line is known by execution, stream and
number, so that a batch sent twice is stored once; a result is never only on a worker.
"""

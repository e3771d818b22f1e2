"""Answers of agents that were mentioned in a conversation: by a model, or by a task for them.

Invariant: a mention is answered once, however often that is tried and by however many servers: the
reply is written in the transaction that ends the mention.
"""

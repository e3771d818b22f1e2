"""Our own tools for language models, over the Model Context Protocol.

A run's agent comes with the run's key, a person's own assistant with the person's token; each sees
the tools that are for it. A tool is an edge like a route: it opens its own transactions, calls the
slices' commands and reads, and what it answers is words for a model, of bounded length.
"""

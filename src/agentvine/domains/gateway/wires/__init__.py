"""The languages in which models are asked: what a request may cost, and what its answer used.

Nothing is translated and nothing is kept: the relay passes bytes on, and these look at them.
"""

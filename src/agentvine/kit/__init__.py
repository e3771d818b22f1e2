"""Building blocks that know nothing of AgentVine: errors, clock, ids, crypto, processes."""

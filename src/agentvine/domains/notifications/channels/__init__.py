"""The ways by which people are told outside of AgentVine: one file each, behind one small port.

A sender knows nothing of rows and people's settings. It gets a letter and where it goes, and says
what became of it; it is never called inside a transaction, and always ends in the time it was
given. Which server it speaks to is the operator's setting alone.
"""

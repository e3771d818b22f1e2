"""How fast work trees are made and taken away, beside plain git."""

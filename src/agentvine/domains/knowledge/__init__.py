"""The documents that people and agents share: designs, plans, guides, references."""

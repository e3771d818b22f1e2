"""How fast a repository is looked into: from nothing, from the cache, and beside ``ast.parse``."""

"""Raw SQL for people's scripts, alike on both databases; ``agentvine.database`` is its door."""

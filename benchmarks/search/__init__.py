"""How long it takes to find documents and memories among many."""

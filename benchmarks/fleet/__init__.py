"""The server over real HTTP: what a fleet of workers would feel."""

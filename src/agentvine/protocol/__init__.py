"""The wire contract between workers, servers and clients."""

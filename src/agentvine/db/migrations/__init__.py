"""Schema migrations: one tree for both databases, run by ``runner.MigrationRunner`` only."""

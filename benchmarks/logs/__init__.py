"""Log lines on their way into the database: ``python -m benchmarks.logs``."""

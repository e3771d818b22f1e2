"""HTTP plumbing shared by every slice: dependencies, problems, idempotency."""

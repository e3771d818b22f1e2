"""What we run on the project itself: the linter, the lock writer. Never part of the wheel."""

"""What stands between a worker's message and our code: server, JSON and driver, side by side."""

"""What the commands do; each takes the session and the values of its command."""

"""What somebody has to know, and over which channels it was sent."""

"""What it costs to look at a run's processes, beside other ways to find them."""

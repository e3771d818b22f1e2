"""Benchmarks: one command each, one run, with the baseline measured again between the systems."""

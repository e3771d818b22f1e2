"""The queue beside what people would pick instead: ``python -m benchmarks.queue``."""

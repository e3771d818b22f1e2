"""How long a job waits whose worker was killed: ours beside what people would pick instead."""

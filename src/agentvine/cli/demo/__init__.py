"""The demonstration: a real repository, real tools, three tasks, two workers, in under a minute."""

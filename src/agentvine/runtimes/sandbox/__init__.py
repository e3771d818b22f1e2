"""The sandbox for runs of repositories that ask for one: bubblewrap, seccomp, an egress proxy.

What it keeps from whom, and what it does not: docs/explanation/sandbox.md and docs/adr/0014.
"""

from agentvine.runtimes.sandbox.bubblewrap import (
    Bubblewrap,
    Sandbox,
    SandboxUnavailable,
    find_bubblewrap,
)
from agentvine.runtimes.sandbox.doors import doors_to

__all__ = ["Bubblewrap", "Sandbox", "SandboxUnavailable", "doors_to", "find_bubblewrap"]

"""The ``command`` runtime: any shell command, in the work tree."""

from agentvine.runtimes.command.driver import CommandRuntime

__all__ = ["CommandRuntime"]

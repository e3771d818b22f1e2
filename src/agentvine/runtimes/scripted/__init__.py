"""The ``scripted`` runtime: an agent that does what a YAML script says, for trials and tests."""

from agentvine.runtimes.scripted.driver import ScriptedRuntime

__all__ = ["ScriptedRuntime"]

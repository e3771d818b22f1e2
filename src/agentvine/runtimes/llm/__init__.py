"""The ``llm`` runtime: a small agent of our own, for who has a key and no agent's program."""

from agentvine.runtimes.llm.driver import LlmRuntime

__all__ = ["LlmRuntime"]

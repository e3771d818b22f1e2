"""Agents that are given their task and left alone: no questions, no words, no sessions."""

from agentvine.runtimes.one_shot.aider import AiderRuntime
from agentvine.runtimes.one_shot.mini_swe_agent import MiniSweAgentRuntime

__all__ = ["AiderRuntime", "MiniSweAgentRuntime"]

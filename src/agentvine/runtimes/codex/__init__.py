"""Codex, driven by its app server: JSON-RPC over stdio, with approvals, questions and steering."""

from agentvine.runtimes.codex.driver import CodexRuntime

__all__ = ["CodexRuntime"]

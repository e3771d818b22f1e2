"""Agents that speak the Agent Client Protocol: JSON-RPC 2.0, a message a line, over stdio."""

from agentvine.runtimes.acp.driver import AcpRuntime, acp_runtimes

__all__ = ["AcpRuntime", "acp_runtimes"]

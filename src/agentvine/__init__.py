"""AgentVine: a self-hosted control plane for teams of coding agents."""

from importlib.metadata import version

__version__ = version("agentvine")

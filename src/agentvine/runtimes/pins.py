"""The versions of agents' programs that we have tried, and how each is installed."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pin:
    """One program at one version."""

    program: str
    package: str
    version: str
    manager: str = "npm install -g"
    separator: str = "@"
    tells_version: bool = True
    """Whether it answers `--version`, and quickly; else its package tells."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """What it needs to answer without a look at the network."""

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"{self.manager} {self.package}{self.separator}{self.version}"


CLAUDE_CODE = Pin("claude", "@anthropic-ai/claude-code", "2.1.330")
QWEN = Pin("qwen", "@qwen-code/qwen-code", "0.24.4", tells_version=False)
CODEX = Pin("codex", "@openai/codex", "0.169.0")
OPENCODE = Pin("opencode", "opencode-ai", "1.18.33")
GEMINI = Pin("gemini", "@google/gemini-cli", "0.61.0", tells_version=False)
CLAUDE_AGENT_ACP = Pin(
    "claude-agent-acp",
    "@agentclientprotocol/claude-agent-acp",
    "0.101.0",
    tells_version=False,
)
CODEX_ACP = Pin("codex-acp", "@agentclientprotocol/codex-acp", "2.6.0", tells_version=False)
MINI_SWE_AGENT = Pin(
    "mini",
    "mini-swe-agent",
    "2.4.6",
    manager="pip install mcp",
    separator="==",
    tells_version=False,
)
"""Without ``mcp`` it fails at its first call of a model: its model library imports that."""
AIDER = Pin(
    "aider", "aider-chat", "0.86.2", manager="pip install", separator="==", tells_version=False
)

ALL_PINS = (
    CLAUDE_CODE,
    QWEN,
    CODEX,
    OPENCODE,
    GEMINI,
    CLAUDE_AGENT_ACP,
    CODEX_ACP,
    MINI_SWE_AGENT,
    AIDER,
)

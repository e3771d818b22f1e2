"""The versions of agents' programs that we have tried, and how each is installed."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pin:
    """One program at one version."""

    program: str
    package: str
    version: str
    manager: str = "npm install -g"
    separator: str = "@"

    @property
    def install(self) -> str:
        """The command that installs it."""
        return f"{self.manager} {self.package}{self.separator}{self.version}"


CLAUDE_CODE = Pin("claude", "@anthropic-ai/claude-code", "2.1.330")
QWEN = Pin("qwen", "@qwen-code/qwen-code", "0.24.4")
CODEX = Pin("codex", "@openai/codex", "0.169.0")

"""Programs that speak Claude Code's lines: the runtimes ``claude-code`` and ``qwen``."""

from agentvine.runtimes.stream_json.claude_code import ClaudeCodeRuntime
from agentvine.runtimes.stream_json.qwen import QwenRuntime

__all__ = ["ClaudeCodeRuntime", "QwenRuntime"]

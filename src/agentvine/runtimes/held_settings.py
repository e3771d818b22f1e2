"""Settings of Gemini CLI, and of Qwen Code, which comes from it.

Both also read a file of the repository's, by which it could have them run its programs before
anybody is asked. To Qwen Code ours is the system's, which no other overrides; Gemini CLI takes such
from root alone, and so is kept from trusting a repository that brings any (``acp/agents.py``).
"""

from typing import Any

from agentvine.runtimes.own_tools import SERVER

HELD_SETTINGS: dict[str, Any] = {
    "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
    # Qwen Code knows the one, Gemini CLI the other.
    "disableAllHooks": True,
    "hooksConfig": {"enabled": False},
    "tools": {"discoveryCommand": "", "callCommand": ""},
    "mcp": {"allowed": [SERVER], "serverCommand": ""},
}
"""What both are held to; of objects and lists of others, only what is not named here remains."""
QWEN_VARIABLE = "QWEN_CODE_SYSTEM_SETTINGS_PATH"

"""The agents that we know: how each is started, and what it needs so that we are its host.

Each is put into the mode in which it asks for every permission: what may be done is decided in one
place, for all of them alike. With access to models it gets a home of its own, and settings that
lead to the gateway; without, it is used as its user has set it up, login and all.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentvine.protocol.enums import PermissionLevel
from agentvine.runtimes.base import ModelAccess, RunContext
from agentvine.runtimes.codex.settings import codex_settings
from agentvine.runtimes.held_settings import (
    HELD_SETTINGS,
    QWEN_VARIABLE,
    brought_by,
    held_for_qwen,
    require_harmless,
)
from agentvine.runtimes.logins import (
    CLAUDE_LOGIN,
    CODEX_LOGIN,
    GEMINI_LOGIN,
    OPENAI_ADDRESS,
    OPENCODE_LOGIN,
    QWEN_LOGIN,
    OwnLogin,
)
from agentvine.runtimes.model_choice import require_model
from agentvine.runtimes.own_tools import tools_setting
from agentvine.runtimes.pins import (
    CLAUDE_AGENT_ACP,
    CODEX_ACP,
    GEMINI,
    OPENCODE,
    QWEN,
    Pin,
)
from agentvine.runtimes.stream_json.claude_code import READ_RULES
from agentvine.runtimes.stream_json.qwen import QWEN_TOOLS


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How an agent is started for one run."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    files: Mapping[str, str] = field(default_factory=dict[str, str])
    """Settings, by their path below the run's home."""
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    """Values for the agent's own settings of a session."""
    drives: tuple[str, ...] = ()
    """Programs that an adapter starts in its turn."""
    folder: Path | None = None
    """Where the program itself starts, if not in the work tree."""
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What a session is begun with beside the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcpAgent:
    """One agent."""

    name: str
    pin: Pin
    login: OwnLogin
    start: Callable[[RunContext, str | None], Start]
    """Given the context and the model's name, if there is one."""
    mode: str | None = None
    """The mode in which it asks."""
    tells_usage: bool = True
    shows_errors_as_text: bool = False


def _claude(context: RunContext, model: str | None) -> Start:
    found = _found("CLAUDE_CODE_EXECUTABLE", "claude", context)
    environment = {
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "3",
        "ENABLE_TOOL_SEARCH": "false",
        **found,
    }
    if model:
        environment["ANTHROPIC_MODEL"] = model
    if (access := context.models) is not None:
        environment |= {
            "ANTHROPIC_BASE_URL": f"{access.base_url}/anthropic",
            "ANTHROPIC_AUTH_TOKEN": access.key,
            "CLAUDE_CONFIG_DIR": str(_home(context) / "claude"),
        }
    else:
        environment |= CLAUDE_LOGIN.variables()
    return Start(
        argv=("claude-agent-acp",),
        environment=environment,
        files={"claude/.keep": ""},
        drives=tuple(found.values()),
        meta={
            "claudeCode": {"options": {"settingSources": [], "strictMcpConfig": True}},
            "systemPrompt": {"append": READ_RULES},
        },
    )


def _codex(context: RunContext, model: str | None) -> Start:
    # The adapter trusts every folder that it works in.
    require_harmless(context, "codex-acp", brought_by(context.worktree, ".codex"))
    found = _found("CODEX_PATH", "codex", context)
    argv, drives = ("codex-acp",), tuple(found.values())
    environment = {
        # In the others, a model decides what may be done, or nobody.
        "INITIAL_AGENT_MODE": "read-only",
        "NO_BROWSER": "1",
        **found,
    }
    if (access := context.models) is None:
        if model:
            environment["CODEX_CONFIG"] = json.dumps({"model": model})
        environment |= CODEX_LOGIN.variables()
        return Start(argv=argv, environment=environment, drives=drives)
    settings = codex_settings(_home(context) / "codex", context.worktree, access, model)
    environment |= settings.environment
    files = {"codex/config.toml": settings.config}
    return Start(argv=argv, environment=environment, files=files, drives=drives)


_GEMINI_READS = (".gemini", ".env")
"""By these a repository could have it run programs before anybody is asked. Where it does not trust
the folder it reads neither, but does not offer our tools, too. To be held as Qwen Code is, it wants
settings that belong to root."""


def _gemini(context: RunContext, model: str | None) -> Start:
    argv = ["gemini", "--acp", *(["-m", model] if model else [])]
    environment = {"GEMINI_CLI_NO_RELAUNCH": "true"}
    if not brought_by(context.worktree, *_GEMINI_READS):
        environment["GEMINI_CLI_TRUST_WORKSPACE"] = "true"
    if (access := context.models) is None:
        return Start(argv=tuple(argv), environment=environment | GEMINI_LOGIN.variables())
    environment |= {
        "HOME": str(_home(context)),
        "GEMINI_API_KEY": access.key,
        "GOOGLE_GEMINI_BASE_URL": f"{access.base_url}/gemini",
    }
    settings: dict[str, Any] = {
        **HELD_SETTINGS,
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "general": {
            **HELD_SETTINGS["general"],
            "enableAutoUpdateNotification": False,
            # Ten attempts would take minutes.
            "maxAttempts": 2,
            "retryFetchErrors": False,
        },
    }
    files = {".gemini/settings.json": json.dumps(settings)}
    return Start(argv=tuple(argv), environment=environment, files=files)


def _opencode(context: RunContext, model: str | None) -> Start:
    require_harmless(context, "opencode", _plugins_of_opencode(context.worktree))
    off = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS", "SHARE")
    environment = {f"OPENCODE_DISABLE_{name}": "1" for name in (*off, "PROJECT_CONFIG")}
    settings: dict[str, Any] = {
        "autoupdate": False,
        "share": "disabled",
        "permission": {"edit": "ask", "bash": "ask", "webfetch": "ask"},
        # Without a project's settings it does not look for these by itself.
        "instructions": [str(context.worktree / name) for name in ("AGENTS.md", "CLAUDE.md")],
    }
    if (access := context.models) is None:
        settings |= {"model": model} if model else {}
    else:
        environment["HOME"] = str(_home(context))
        settings |= _opencode_models(access, require_model(context, "opencode"))
    environment["OPENCODE_CONFIG_CONTENT"] = json.dumps(settings)
    # It reads variables, and what to load first, where it starts.
    argv = ("opencode", "acp", "--pure")
    return Start(argv=argv, environment=environment, folder=context.home)


def _plugins_of_opencode(folder: Path) -> list[str]:
    """What it loads from a work tree even where it reads no settings there."""
    settings = [
        f"{place}{name}"
        for place in ("", ".opencode/")
        for name in ("opencode.json", "opencode.jsonc")
        if _may_name_plugins(folder / place / name)
    ]
    return settings + brought_by(folder, ".opencode/plugin", ".opencode/plugins")


def _may_name_plugins(path: Path) -> bool:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    # A name may be written in numbers.
    return b"plugin" in text or rb"\u" in text


def _opencode_models(access: ModelAccess, model: str) -> dict[str, Any]:
    """Its settings for the gateway, in the wire format that the model's maker speaks."""
    is_claude = model.startswith("claude")
    provider: dict[str, Any] = {
        "npm": "@ai-sdk/anthropic" if is_claude else "@ai-sdk/openai-compatible",
        "name": "AgentVine",
        "options": {
            "baseURL": f"{access.base_url}/{'anthropic' if is_claude else 'openai'}/v1",
            "apiKey": access.key,
        },
        "models": {model: {"name": model}},
    }
    chosen = f"agentvine/{model}"
    return {
        "provider": {"agentvine": provider},
        "enabled_providers": ["agentvine"],
        "model": chosen,
        "small_model": chosen,
    }


def _qwen(context: RunContext, model: str | None) -> Start:
    argv = ["qwen", "--acp", "--approval-mode", "default"]
    environment = {"QWEN_CODE_SUPPRESS_YOLO_WARNING": "1", **QWEN_TOOLS}
    if model:
        environment["OPENAI_MODEL"] = model
    if (access := context.models) is None:
        environment |= {"OPENAI_BASE_URL": OPENAI_ADDRESS, **QWEN_LOGIN.variables()}
        return Start(argv=tuple(argv), environment=environment)
    environment |= {
        "HOME": str(_home(context)),
        "OPENAI_API_KEY": access.key,
        "OPENAI_BASE_URL": f"{access.base_url}/openai/v1",
        QWEN_VARIABLE: str(_home(context) / ".qwen" / "settings.json"),
    }
    # Over this protocol it takes no servers that are spoken to by HTTP.
    # It asks for everything; what may be done is decided by us.
    settings = held_for_qwen(PermissionLevel.HUMAN_REQUIRED) | tools_setting(context.mcp)
    files = {".qwen/settings.json": json.dumps(settings)}
    argv += ["--auth-type", "openai"]
    return Start(argv=tuple(argv), environment=environment, files=files)


AGENTS = {
    agent.name: agent
    for agent in (
        AcpAgent(
            name="opencode",
            pin=OPENCODE,
            login=OPENCODE_LOGIN,
            start=_opencode,
            # Of a prompt's calls it tells the last one alone.
            tells_usage=False,
        ),
        AcpAgent(
            name="gemini",
            pin=GEMINI,
            login=GEMINI_LOGIN,
            start=_gemini,
            mode="default",
        ),
        AcpAgent(
            name="claude-agent-acp",
            pin=CLAUDE_AGENT_ACP,
            login=CLAUDE_LOGIN,
            start=_claude,
            mode="default",
        ),
        AcpAgent(
            name="codex-acp",
            pin=CODEX_ACP,
            login=CODEX_LOGIN,
            start=_codex,
            shows_errors_as_text=True,
        ),
        AcpAgent(
            name="qwen-acp",
            pin=QWEN,
            login=QWEN_LOGIN,
            start=_qwen,
            mode="default",
        ),
    )
}


def _found(variable: str, program: str, context: RunContext) -> dict[str, str]:
    """Lets an adapter drive the agent that is installed, rather than a copy of its own."""
    found = shutil.which(program, path=context.environment().get("PATH"))
    return {variable: found} if found else {}


def _home(context: RunContext) -> Path:
    assert context.home is not None, "a run with access to models has a home"
    return context.home

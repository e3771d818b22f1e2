"""Codex's settings for a run, in a home of the run's own."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agentvine.protocol.tools import WAIT_HEADER
from agentvine.runtimes.base import McpAccess, ModelAccess
from agentvine.runtimes.logins import CODEX_LOGIN, OPENAI_ADDRESS
from agentvine.runtimes.own_tools import MAX_WAIT_SECONDS, SERVER

_KEY = "AGENTVINE_MODEL_KEY"
_TOOL_KEY = "AGENTVINE_TOOL_KEY"
_GENERAL = (
    "check_for_update_on_startup = false",
    "suppress_unstable_features_warning = true",
    "[analytics]",
    "enabled = false",
    "[features]",
    "plugins = false",
    # It would wait for ever where nobody answers at the address.
    "unbounded_connection_retries = false",
    # The tool by which it asks people.
    "default_mode_request_user_input = true",
)


@dataclass(frozen=True, slots=True)
class CodexSettings:
    """What is written into its home, and what it is started with."""

    config: str
    """The content of ``config.toml``."""
    environment: Mapping[str, str]


def codex_settings(
    home: Path,
    folder: Path,
    access: ModelAccess | None,
    model: str | None,
    tools: McpAccess | None = None,
) -> CodexSettings:
    """Settings that lead to the gateway; without access to it, to a key of the worker's user.

    Where there is neither, the login in the home is what it uses.

    Args:
        home: Where it looks for them.
        folder: Where it is to work; the settings that lie there are not followed.
        access: The gateway.
        model: What it is to ask for.
        tools: Our own tools.
    """
    environment = {"CODEX_HOME": str(home)}
    if tools is not None:
        environment[_TOOL_KEY] = tools.key
    lines = [f"model = {json.dumps(model)}"] if model else []
    own = CODEX_LOGIN.variables()
    if access is not None:
        where, key = f"{access.base_url}/openai/v1", access.key
    else:
        where, key = OPENAI_ADDRESS, next(iter(own.values()), None)
    if key is None:
        lines += [*_GENERAL, *_tool_lines(tools), *_distrust(folder)]
        return CodexSettings("\n".join([*lines, ""]), environment)
    environment[_KEY] = key
    lines += ['model_provider = "agentvine"', *_GENERAL]
    lines += [
        "[model_providers.agentvine]",
        'name = "AgentVine"',
        f"base_url = {json.dumps(where)}",
        f'env_key = "{_KEY}"',
        'wire_api = "responses"',
    ]
    if access is not None:
        # A refusal for the budget would be asked for again and again.
        lines += ["request_max_retries = 0", "stream_max_retries = 0"]
    return CodexSettings(
        "\n".join([*lines, *_tool_lines(tools), *_distrust(folder), ""]), environment
    )


def _distrust(folder: Path) -> list[str]:
    # Where nothing is said, it trusts where it may write, and starts what is named there.
    return [f"[projects.{json.dumps(str(folder))}]", 'trust_level = "untrusted"']


def _tool_lines(tools: McpAccess | None) -> list[str]:
    if tools is None:
        return []
    return [
        f"[mcp_servers.{SERVER}]",
        f"url = {json.dumps(tools.url)}",
        f'bearer_token_env_var = "{_TOOL_KEY}"',
        f'http_headers = {{ "{WAIT_HEADER}" = "{MAX_WAIT_SECONDS}" }}',
        f"tool_timeout_sec = {MAX_WAIT_SECONDS + 60}",
        # They ask for themselves, where there is something to ask.
        'default_tools_approval_mode = "approve"',
    ]


def write_settings(home: Path, settings: CodexSettings) -> None:
    """Put them where it looks for them; nobody else may read them."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = home / "config.toml"
    path.touch(mode=0o600)
    path.write_text(settings.config)

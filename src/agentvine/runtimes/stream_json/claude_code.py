"""Claude Code, driven by its stream of JSON lines and its control protocol."""

import asyncio
import json
from functools import partial
from pathlib import Path

from agentvine.protocol.enums import PermissionLevel
from agentvine.runtimes.agent import AGENT_WATCH
from agentvine.runtimes.base import LoginState, RunContext, RunOutcome, RuntimeInfo
from agentvine.runtimes.detection import detect_program, places_of, require_program
from agentvine.runtimes.logins import CLAUDE_LOGIN, link_login, no_way_to_a_model
from agentvine.runtimes.model_choice import chosen_model
from agentvine.runtimes.own_tools import MAX_WAIT_SECONDS, SERVER, headers_for
from agentvine.runtimes.pins import CLAUDE_CODE
from agentvine.runtimes.resuming import brief_of
from agentvine.runtimes.runner import Program
from agentvine.runtimes.stream_json.running import run_stream

_TOOLS = "agentvine-mcp.json"
"""Our tools, with the run's key: in a file, since arguments can be seen by all."""
READ_RULES = (
    "If the repository has a file AGENTS.md or CLAUDE.md, read it before you begin, and follow it."
)
_MODES = {
    PermissionLevel.HUMAN_REQUIRED: ("default", ()),
    PermissionLevel.SUPERVISED: ("acceptEdits", ()),
    # Not the mode that asks nothing at all: root may not use it, and questions would be lost.
    PermissionLevel.AUTONOMOUS: (
        "acceptEdits",
        ("Bash", "Edit", "Write", "NotebookEdit", "WebFetch", "WebSearch"),
    ),
}


class ClaudeCodeRuntime:
    """Claude Code."""

    name = "claude-code"
    is_agent = True
    uses_models = True

    async def detect(self) -> RuntimeInfo:
        """Look for `claude`, and whether its user is logged in."""
        return await detect_program(self.name, CLAUDE_CODE, CLAUDE_LOGIN)

    async def run(self, context: RunContext) -> RunOutcome:
        """Do the task.

        Raises:
            AgentProgramMissing: `claude` is not here.
        """
        program = require_program(CLAUDE_CODE)
        if context.models is None and CLAUDE_LOGIN.state() is LoginState.MISSING:
            return no_way_to_a_model(context, CLAUDE_LOGIN)
        home = context.home or Path(context.environment().get("HOME", "/"))
        config = home / "claude" if context.home else home / ".claude"
        await asyncio.to_thread(_prepare, config, context)
        return await run_stream(
            context, partial(_plan, context, program, config), config / "projects"
        )


def _plan(context: RunContext, program: Path, config: Path, session_id: str | None) -> Program:
    brief = brief_of(context)
    mode, allowed = _MODES[brief.permission_level]
    model = chosen_model(context)
    argv = [str(program), "-p", "--input-format", "stream-json", "--output-format", "stream-json"]
    argv += ["--verbose", "--replay-user-messages", "--permission-prompt-tool", "stdio"]
    # Settings of the repository could allow what people did not, and run what nobody asked for.
    argv += ["--permission-mode", mode, "--setting-sources="]
    if allowed or context.mcp is not None:
        # Our own tools ask for themselves, where there is something to ask.
        argv += ["--allowedTools", ",".join((*allowed, f"mcp__{SERVER}"))]
    if model:
        argv += ["--model", model]
    if session_id is not None:
        argv += [f"--resume={session_id}"]
    argv += ["--append-system-prompt", "\n\n".join(filter(None, (brief.system_prompt, READ_RULES)))]
    if context.mcp is not None:
        argv += ["--mcp-config", str(config / _TOOLS), "--strict-mcp-config"]
    return Program(
        argv=argv,
        timeout_seconds=context.timeout_seconds,
        extra_environment=_environment(context, config, model),
        watch=AGENT_WATCH,
        needs=places_of(program),
        has_input=True,
    )


def _environment(context: RunContext, config: Path, model: str | None) -> dict[str, str]:
    own = {
        "CLAUDE_CONFIG_DIR": str(config),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_MAX_RETRIES": "2",
        "ENABLE_TOOL_SEARCH": "false",
        "MCP_TOOL_TIMEOUT": str((MAX_WAIT_SECONDS + 60) * 1000),
    }
    if context.models is not None:
        own["ANTHROPIC_BASE_URL"] = f"{context.models.base_url}/anthropic"
        own["ANTHROPIC_API_KEY"] = context.models.key
        if model:
            # What it asks on the side must be of the same list.
            own["ANTHROPIC_DEFAULT_HAIKU_MODEL"] = model
        return own
    return own | CLAUDE_LOGIN.variables()


def _prepare(config: Path, context: RunContext) -> None:
    config.mkdir(parents=True, exist_ok=True, mode=0o700)
    if context.home is not None:
        link_login(CLAUDE_LOGIN, config, is_wanted=context.models is None)
    if context.mcp is not None:
        headers = headers_for(context.mcp, MAX_WAIT_SECONDS)
        server = {"type": "http", "url": context.mcp.url, "headers": headers}
        path = config / _TOOLS
        path.touch(mode=0o600)
        path.write_text(json.dumps({"mcpServers": {SERVER: server}}))

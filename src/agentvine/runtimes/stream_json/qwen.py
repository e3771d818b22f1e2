"""Qwen Code, which speaks Claude Code's lines."""

import asyncio
import json
from functools import partial
from pathlib import Path

from agentvine.protocol.enums import PermissionLevel
from agentvine.runtimes.agent import AGENT_WATCH
from agentvine.runtimes.base import LoginState, McpAccess, RunContext, RunOutcome, RuntimeInfo
from agentvine.runtimes.detection import detect_program, places_of, require_program
from agentvine.runtimes.held_settings import QWEN_VARIABLE, held_for_qwen
from agentvine.runtimes.logins import OPENAI_ADDRESS, QWEN_LOGIN, no_way_to_a_model
from agentvine.runtimes.model_choice import chosen_model
from agentvine.runtimes.own_tools import MAX_WAIT_SECONDS, tools_setting
from agentvine.runtimes.pins import QWEN
from agentvine.runtimes.resuming import brief_of
from agentvine.runtimes.runner import Program
from agentvine.runtimes.stream_json.running import run_stream

_MODES = {
    PermissionLevel.HUMAN_REQUIRED: "default",
    PermissionLevel.SUPERVISED: "auto-edit",
    PermissionLevel.AUTONOMOUS: "yolo",
}
QWEN_TOOLS = {
    # Else it begins before it knows the tools.
    "QWEN_CODE_LEGACY_MCP_BLOCKING": "1",
    "QWEN_CODE_MCP_TOOL_IDLE_TIMEOUT_MS": str((MAX_WAIT_SECONDS + 60) * 1000),
}
"""What it needs to hear to use our tools."""


class QwenRuntime:
    """Qwen Code."""

    name = "qwen"
    is_agent = True
    uses_models = True

    async def detect(self) -> RuntimeInfo:
        """Look for `qwen`, and whether the worker has a key for it."""
        return await detect_program(self.name, QWEN, QWEN_LOGIN)

    async def run(self, context: RunContext) -> RunOutcome:
        """Do the task.

        Raises:
            AgentProgramMissing: `qwen` is not here.
        """
        program = require_program(QWEN)
        if context.models is None and QWEN_LOGIN.state() is LoginState.MISSING:
            return no_way_to_a_model(context, QWEN_LOGIN)
        home = context.home or Path(context.environment().get("HOME", "/"))
        if context.home is not None:
            level = brief_of(context).permission_level
            await asyncio.to_thread(_write_settings, home, level, context.mcp)
        plan, projects = partial(_plan, context, program, home), home / ".qwen" / "projects"
        return await run_stream(context, plan, projects, is_qwen=True)


def _plan(context: RunContext, program: Path, home: Path, session_id: str | None) -> Program:
    brief = brief_of(context)
    model = chosen_model(context)
    argv = [str(program), "--auth-type", "openai", "--input-format", "stream-json"]
    argv += ["-o", "stream-json", "--approval-mode", _MODES[brief.permission_level]]
    if session_id is not None:
        argv += ["--resume", session_id]
    if brief.system_prompt:
        argv += ["--append-system-prompt", brief.system_prompt]
    environment = {"HOME": str(home), "QWEN_CODE_SUPPRESS_YOLO_WARNING": "1", **QWEN_TOOLS}
    if context.home is not None:
        environment[QWEN_VARIABLE] = str(_settings_of(home))
    if context.models is not None:
        environment["OPENAI_BASE_URL"] = f"{context.models.base_url}/openai/v1"
        environment["OPENAI_API_KEY"] = context.models.key
    else:
        environment |= {"OPENAI_BASE_URL": OPENAI_ADDRESS, **QWEN_LOGIN.variables()}
    if model:
        environment["OPENAI_MODEL"] = model
    return Program(
        argv=argv,
        timeout_seconds=context.timeout_seconds,
        extra_environment=environment,
        watch=AGENT_WATCH,
        needs=places_of(program),
        has_input=True,
    )


def _settings_of(home: Path) -> Path:
    return home / ".qwen" / "settings.json"


def _write_settings(home: Path, level: PermissionLevel, mcp: McpAccess | None) -> None:
    path = _settings_of(home)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    path.write_text(json.dumps(held_for_qwen(level) | tools_setting(mcp)))

"""Qwen Code, which speaks Claude Code's lines."""

import asyncio
import json
from functools import partial
from pathlib import Path

from agentvine.config.settings import environment_for_child
from agentvine.protocol.enums import PermissionLevel
from agentvine.runtimes.agent import AGENT_WATCH
from agentvine.runtimes.base import LoginState, RunContext, RunOutcome, RuntimeInfo
from agentvine.runtimes.detection import detect_program, places_of, require_program
from agentvine.runtimes.pins import QWEN
from agentvine.runtimes.resuming import brief_of
from agentvine.runtimes.runner import Program
from agentvine.runtimes.stream_json.running import no_way_to_a_model, run_stream

_MODES = {
    PermissionLevel.HUMAN_REQUIRED: "default",
    PermissionLevel.SUPERVISED: "auto-edit",
    PermissionLevel.AUTONOMOUS: "yolo",
}
QWEN_SETTINGS = {
    "general": {"enableAutoUpdate": False, "disableAutoUpdate": True},
    "privacy": {"usageStatisticsEnabled": False},
    "telemetry": {"enabled": False},
}
"""Its settings file, whichever protocol it is driven by."""
_NO_WAY = (
    "Qwen Code has no way to a model: set up a provider on the server (`agentvine provider`), or "
    "give the worker OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL."
)
_OWN = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL")


class QwenRuntime:
    """Qwen Code."""

    name = "qwen"
    is_agent = True
    uses_models = True

    async def detect(self) -> RuntimeInfo:
        """Look for `qwen`, and whether the worker has a key for it."""
        login = LoginState.READY if _own_variables() else LoginState.MISSING
        return await detect_program(self.name, QWEN, login)

    async def run(self, context: RunContext) -> RunOutcome:
        """Do the task.

        Raises:
            AgentProgramMissing: `qwen` is not here.
        """
        program = require_program(QWEN)
        if context.models is None and not _own_variables():
            return no_way_to_a_model(_NO_WAY)
        home = context.home or Path(context.environment().get("HOME", "/"))
        if context.home is not None:
            await asyncio.to_thread(_write_settings, home)
        plan, projects = partial(_plan, context, program, home), home / ".qwen" / "projects"
        return await run_stream(context, plan, projects, is_qwen=True)


def _plan(context: RunContext, program: Path, home: Path, session_id: str | None) -> Program:
    brief = brief_of(context)
    model = brief.model or (context.models.default_model if context.models else None)
    argv = [str(program), "--auth-type", "openai", "--input-format", "stream-json"]
    argv += ["-o", "stream-json", "--approval-mode", _MODES[brief.permission_level]]
    if session_id is not None:
        argv += ["--resume", session_id]
    if brief.system_prompt:
        argv += ["--append-system-prompt", brief.system_prompt]
    environment = {"HOME": str(home), "QWEN_CODE_SUPPRESS_YOLO_WARNING": "1"}
    if context.models is not None:
        environment["OPENAI_BASE_URL"] = f"{context.models.base_url}/openai/v1"
        environment["OPENAI_API_KEY"] = context.models.key
    else:
        environment |= _own_variables()
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


def _own_variables() -> dict[str, str]:
    """What the worker's user has set for it; nothing where the key is not among it."""
    ours = environment_for_child(_OWN)
    return {name: ours[name] for name in _OWN if ours.get(name)} if ours.get(_OWN[0]) else {}


def _write_settings(home: Path) -> None:
    folder = home / ".qwen"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "settings.json").write_text(json.dumps(QWEN_SETTINGS))

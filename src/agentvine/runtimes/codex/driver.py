"""The runtime of Codex."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from agentvine.protocol.enums import PermissionLevel
from agentvine.runtimes.agent import AGENT_WATCH, run_agent
from agentvine.runtimes.base import LoginState, RunContext, RunOutcome, RuntimeInfo
from agentvine.runtimes.codex.program import CodexProgram, ThreadPlan
from agentvine.runtimes.codex.settings import codex_settings, write_settings
from agentvine.runtimes.detection import detect_program, places_of, require_program
from agentvine.runtimes.logins import CODEX_LOGIN, link_login, no_way_to_a_model
from agentvine.runtimes.model_choice import chosen_model
from agentvine.runtimes.pins import CODEX
from agentvine.runtimes.resuming import brief_of, prompt_of, run_or_begin_anew
from agentvine.runtimes.runner import Program

_MODES = {
    PermissionLevel.HUMAN_REQUIRED: ("untrusted", "read-only"),
    PermissionLevel.SUPERVISED: ("on-request", "workspace-write"),
    PermissionLevel.AUTONOMOUS: ("never", "danger-full-access"),
}
"""When it asks, and what its own sandbox lets it do without asking."""
_NO_SANDBOX = "danger-full-access"


class CodexRuntime:
    """Codex."""

    name = "codex"
    is_agent = True
    uses_models = True

    async def detect(self) -> RuntimeInfo:
        """Look for `codex`, and whether its user is logged in."""
        return await detect_program(self.name, CODEX, CODEX_LOGIN)

    async def run(self, context: RunContext) -> RunOutcome:
        """Do the task, going on with an earlier thread where there is one.

        Raises:
            AgentProgramMissing: `codex` is not here.
        """
        found = require_program(CODEX)
        if context.models is None and CODEX_LOGIN.state() is LoginState.MISSING:
            return no_way_to_a_model(context, CODEX_LOGIN)
        brief = brief_of(context)
        model = chosen_model(context)
        home = context.home / "codex" if context.home else CODEX_LOGIN.place
        settings = codex_settings(home, context.worktree, context.models, model, context.mcp)
        if context.home is not None:
            await asyncio.to_thread(write_settings, home, settings)
            is_own = context.models is None and not CODEX_LOGIN.variables()
            await asyncio.to_thread(link_login, CODEX_LOGIN, home, is_wanted=is_own)
        program = _program(context, found, settings.environment)
        policy, sandbox = _MODES[brief.permission_level]

        async def run(thread_id: str | None) -> RunOutcome:
            plan = ThreadPlan(
                cwd=str(context.worktree),
                prompt=prompt_of(context, is_resumed=thread_id is not None),
                approval_policy=policy,
                # Where the run has a sandbox, another one does not fit into it.
                sandbox=sandbox if context.sandbox is None else _NO_SANDBOX,
                instructions=brief.system_prompt or "",
                model=model,
                resume=thread_id,
            )
            return await run_agent(context, CodexProgram(program, plan))

        return await run_or_begin_anew(context, run)


def _program(context: RunContext, found: Path, environment: Mapping[str, str]) -> Program:
    return Program(
        argv=[str(found), "app-server"],
        timeout_seconds=context.timeout_seconds,
        extra_environment=environment,
        watch=AGENT_WATCH,
        needs=places_of(found),
        has_input=True,
    )

"""The runtimes of agents that speak the protocol: those that we know, and any other."""

import asyncio
import shlex
from pathlib import Path

from agentvine.kit.errors import Invalid
from agentvine.runtimes.acp.agents import AGENTS, AcpAgent, Start
from agentvine.runtimes.acp.program import AcpProgram, SessionPlan
from agentvine.runtimes.agent import AGENT_WATCH, run_agent
from agentvine.runtimes.base import LoginState, RunContext, RunOutcome, RuntimeInfo
from agentvine.runtimes.detection import detect_program, places_of, require_program
from agentvine.runtimes.logins import no_way_to_a_model
from agentvine.runtimes.model_choice import chosen_model
from agentvine.runtimes.resuming import brief_of, prompt_of, run_or_begin_anew
from agentvine.runtimes.runner import Program


class AgentCommandMissing(Invalid):
    """A task for the runtime ``acp`` needs the command that starts the agent."""

    code = "agent_command_missing"


class AcpRuntime:
    """One of the agents that we know."""

    is_agent = True
    uses_models = True

    def __init__(self, agent: AcpAgent) -> None:
        """Drive this one."""
        self._agent = agent
        self.name = agent.name

    async def detect(self) -> RuntimeInfo:
        """Look for its program, its version, and a login."""
        return await detect_program(self.name, self._agent.pin, self._agent.login)

    async def run(self, context: RunContext) -> RunOutcome:
        """Do the task, going on with an earlier session where there is one.

        Raises:
            AgentProgramMissing: Its program is not on PATH.
            ModelNotNamed: It has to be told a model.
        """
        agent = self._agent
        require_program(agent.pin)
        if context.models is None and agent.login.state() is LoginState.MISSING:
            return no_way_to_a_model(context, agent.login)
        model = chosen_model(context)
        start = agent.start(context, model)
        await asyncio.to_thread(_write_files, context.home, start)
        return await _run(context, start, agent, model)


class AnyAcpRuntime:
    """Any other: the task's command starts it, and it is used as its user has set it up."""

    name = "acp"
    is_agent = True
    uses_models = False

    async def detect(self) -> RuntimeInfo:
        """What it needs depends on the command."""
        return RuntimeInfo(
            name=self.name,
            is_available=True,
            takes_messages=True,
            login=LoginState.UNKNOWN,
            asks=True,
            resumes=True,
        )

    async def run(self, context: RunContext) -> RunOutcome:
        """Start what the task's command says.

        Raises:
            AgentCommandMissing: It says nothing, or nothing that could be started.
        """
        try:
            argv = shlex.split(context.payload.command or "")
        except ValueError as error:
            raise AgentCommandMissing(f"The task's command: {error}.") from error
        if not argv:
            raise AgentCommandMissing(
                "The task has no command; the runtime acp needs the one that starts an agent, such "
                "as --command 'my-agent --acp'."
            )
        return await _run(context, Start(argv=tuple(argv)), None, brief_of(context).model)


def acp_runtimes() -> list[AcpRuntime | AnyAcpRuntime]:
    """One for each agent that we know, and one for any other."""
    return [*(AcpRuntime(agent) for agent in AGENTS.values()), AnyAcpRuntime()]


async def _run(
    context: RunContext, start: Start, agent: AcpAgent | None, model: str | None
) -> RunOutcome:
    program = Program(
        argv=start.argv,
        timeout_seconds=context.timeout_seconds,
        extra_environment=start.environment,
        watch=AGENT_WATCH,
        needs=places_of(start.argv[0], *start.drives),
        has_input=True,
        folder=start.folder,
    )

    async def run(session_id: str | None) -> RunOutcome:
        plan = SessionPlan(
            cwd=str(context.worktree),
            prompt=prompt_of(context, is_resumed=False),
            resumed_prompt=prompt_of(context, is_resumed=True),
            resume=session_id,
            mode=agent.mode if agent else None,
            options=start.options,
            model=model,
            tells_usage=agent.tells_usage if agent else True,
            shows_errors_as_text=agent.shows_errors_as_text if agent else False,
            mcp=context.mcp,
            meta=start.meta,
        )
        return await run_agent(context, AcpProgram(program, plan))

    return await run_or_begin_anew(context, run)


def _write_files(home: Path | None, start: Start) -> None:
    for name, text in start.files.items():
        if home is None:
            return
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)

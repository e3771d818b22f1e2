"""A run of a program that speaks the stream, with the session that it goes on with."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from agentvine.runtimes.agent import run_agent
from agentvine.runtimes.base import RunContext, RunOutcome
from agentvine.runtimes.resuming import prompt_of, run_or_begin_anew
from agentvine.runtimes.runner import Program
from agentvine.runtimes.stream_json.moving import bring_session
from agentvine.runtimes.stream_json.program import StreamJsonProgram


async def run_stream(
    context: RunContext,
    plan: Callable[[str | None], Program],
    projects: Path,
    *,
    is_qwen: bool = False,
) -> RunOutcome:
    """Do the task, going on with an earlier session where there is one.

    Args:
        context: The run's.
        plan: The program that goes on with a session, or begins anew where there is none.
        projects: Where it keeps its sessions, by the folders that it worked in.
        is_qwen: It is Qwen Code's dialect, and its sessions lie a folder deeper.
    """
    inner = "chats" if is_qwen else ""

    async def run(session_id: str | None) -> RunOutcome:
        resumes = session_id is not None
        if session_id is not None:
            await asyncio.to_thread(
                bring_session, projects, context.worktree, session_id, inner=inner
            )
        prompt = prompt_of(context, is_resumed=resumes)
        program = StreamJsonProgram(plan(session_id), prompt, resumes=resumes, is_qwen=is_qwen)
        return await run_agent(context, program)

    return await run_or_begin_anew(context, run)

"""Runs the task's own command; what it does to the work tree is the change."""

import os
from dataclasses import replace
from pathlib import Path

from agentvine.kit.errors import Invalid
from agentvine.runtimes.base import RunContext, RunOutcome, RuntimeInfo
from agentvine.runtimes.command.inbox import INBOX, open_inbox
from agentvine.runtimes.shell import SHELL, ShellRun, run_shell


class CommandMissing(Invalid):
    """A task for the command runtime needs a command."""

    code = "command_missing"


class CommandRuntime:
    """Any shell command."""

    name = "command"
    is_agent = False
    uses_models = False

    async def detect(self) -> RuntimeInfo:
        """A shell is all it needs."""
        if os.access(Path(SHELL), os.X_OK):
            return RuntimeInfo(name=self.name, is_available=True, takes_messages=True)
        return RuntimeInfo(
            name=self.name, is_available=False, problem=f"There is no shell at {SHELL}."
        )

    async def run(self, context: RunContext) -> RunOutcome:
        """Run the order's command to its end; what people say to it meanwhile is in its inbox."""
        command = context.payload.command
        if not command or not command.strip():
            raise CommandMissing(
                "The task has no command to run; give it one with --command, or another runtime."
            )
        run = ShellRun(command=command, timeout_seconds=context.timeout_seconds)
        if context.inbox is None:
            return await run_shell(context, run)
        path = context.inbox / "messages.jsonl"
        run = replace(run, extra_environment={INBOX: str(path)})
        with open_inbox(path) as inbox, context.mailbox.open_to(inbox.take):
            return await run_shell(context, run)

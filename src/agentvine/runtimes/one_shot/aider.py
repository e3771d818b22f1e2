"""The runtime of aider."""

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.agent import AGENT_WATCH, ProgramEnd, run_agent
from agentvine.runtimes.base import LoginState, RunContext, RunOutcome, RuntimeInfo
from agentvine.runtimes.detection import detect_program, places_of, require_program
from agentvine.runtimes.error_words import class_of_text
from agentvine.runtimes.events import AgentEvent, AssistantText, Failed, Finished
from agentvine.runtimes.held_settings import brought_by, require_harmless
from agentvine.runtimes.logins import AIDER_LOGIN, no_way_to_a_model
from agentvine.runtimes.model_choice import require_model
from agentvine.runtimes.one_shot.program import LibraryAccess, OneShotProgram, library_access
from agentvine.runtimes.pins import AIDER
from agentvine.runtimes.resuming import prompt_of
from agentvine.runtimes.runner import Program

_WATCH = AGENT_WATCH.model_copy(update={"after_result_seconds": 2.0})
"""It asks again for a minute where a budget is used up: then it is not waited for."""
_DONE = re.compile(r"^Tokens: .* received")
_ERROR = re.compile(r"litellm\.\w*(?:Error|Exception)|^Error: ", re.IGNORECASE)
_AT_ONCE = {FailureClass.BUDGET_EXHAUSTED, FailureClass.QUOTA_EXHAUSTED}
_FLAGS = (
    *("--yes-always", "--no-check-update", "--analytics-disable", "--no-show-model-warnings"),
    *("--no-show-release-notes", "--no-pretty", "--no-fancy-input", "--no-gitignore"),
    *("--no-detect-urls", "--no-suggest-shell-commands"),
    # What a stream used, it does not ask to be told.
    "--no-stream",
    # The run's change is committed when it is done.
    *("--no-auto-commits", "--no-dirty-commits"),
    # The repository's settings could have it run what nobody asked for.
    *("--no-auto-lint", "--no-auto-test"),
)
_CONTEXT = 128_000
_OBEYED = (".aider.conf.yml", ".env", ".aider.model.*", ".aider.tags.cache.*")
"""By these a repository has it run commands, or send the key elsewhere: settings, variables, where
models are, and a cache of pickled objects, which run what they say when they are read."""


class AiderRuntime:
    """aider."""

    name = "aider"
    is_agent = True
    uses_models = True

    async def detect(self) -> RuntimeInfo:
        """Look for `aider`, and whether the worker has a key for it."""
        return await detect_program(self.name, AIDER, AIDER_LOGIN, is_driven=False)

    async def run(self, context: RunContext) -> RunOutcome:
        """Do the task.

        Raises:
            AgentProgramMissing: `aider` is not here.
            ModelNotNamed: It has to be told a model.
            RepositoryRunsPrograms: The repository's settings are not to be followed.
        """
        found = require_program(AIDER)
        if context.models is None and AIDER_LOGIN.state() is LoginState.MISSING:
            return no_way_to_a_model(context, AIDER_LOGIN)
        model = require_model(context, "aider")
        assert context.home is not None, "an agent's run has a home"
        require_harmless(context, "aider", brought_by(context.worktree, *_OBEYED))
        access = library_access(context, AIDER_LOGIN, model)
        task = prompt_of(context, is_resumed=False)
        await asyncio.to_thread(_prepare, context.home, access.model, task)
        program = Program(
            argv=[str(found), *_FLAGS, *_arguments(context.home, access)],
            timeout_seconds=context.timeout_seconds,
            extra_environment={**access.environment, "HOME": str(context.home)},
            watch=_WATCH,
            needs=places_of(found),
        )
        return await run_agent(context, OneShotProgram(program, AiderReader()))


@dataclass(slots=True)
class AiderReader:
    """Reads its lines; one of them tells that the model has answered, and nothing was wrong."""

    _error: str | None = None
    _is_done: bool = False
    _has_ended: bool = False

    def on_line(self, line: str) -> Sequence[AgentEvent]:
        """A line for people; a refusal that it would try again is the end."""
        events: list[AgentEvent] = [AssistantText(text=line)]
        if _DONE.match(line):
            self._is_done, self._error = True, None
        elif _ERROR.search(line):
            self._error, self._is_done = line.strip(), False
        if not self._has_ended and self._error is not None:
            failure_class = class_of_text(line)
            if failure_class is not None and failure_class in _AT_ONCE:
                self._has_ended = True
                events.append(Failed(failure_class=failure_class, message=line.strip()[:1000]))
        return events

    def on_end(self, end: ProgramEnd) -> Sequence[AgentEvent]:
        """Its exit status is 0 in any case."""
        if self._has_ended:
            return ()
        if self._error is not None:
            failure_class = class_of_text(self._error) or FailureClass.CRASHED
            return [Failed(failure_class=failure_class, message=self._error[:1000])]
        if self._is_done and end.exited.exit_code == 0:
            return [Finished()]
        return ()


def _arguments(home: Path, access: LibraryAccess) -> list[str]:
    argv = ["--model", access.model, "--message-file", str(home / "task.md")]
    argv += ["--input-history-file", str(home / "input"), "--chat-history-file", str(home / "chat")]
    for name, value in access.address.items():
        # After the file .env of a repository, which it reads.
        argv += ["--set-env", f"{name}={value}"]
    return argv


def _prepare(home: Path, model: str, task: str) -> None:
    """Its task; and a table of prices, without which it would look for one on the network."""
    caches = home / ".aider" / "caches"
    caches.mkdir(parents=True, exist_ok=True, mode=0o700)
    about = {
        "max_input_tokens": _CONTEXT,
        "input_cost_per_token": 0,
        "output_cost_per_token": 0,
        "litellm_provider": model.partition("/")[0],
        "mode": "chat",
    }
    prices = caches / "model_prices_and_context_window.json"
    prices.write_text(json.dumps({model: about}))
    (home / "task.md").write_text(task, encoding="utf-8")

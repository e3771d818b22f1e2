"""Runs the built-in agent over the run's access to models."""

import ipaddress
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import httpx2

from agentvine.kit.process import ExitReason
from agentvine.llm.door import ModelDoor
from agentvine.llm.messages import Conversation, Used
from agentvine.llm.ports import Endpoint, PlannedCall, Unmetered
from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.base import ModelAccess, RunContext, RunFailure, RunOutcome, RuntimeInfo
from agentvine.runtimes.llm.agent import BuiltInAgent
from agentvine.runtimes.llm.files import ToolRefused, Tree
from agentvine.runtimes.llm.own_tools import find_own_tools
from agentvine.runtimes.resuming import brief_of, prompt_of

_CONNECT_SECONDS = 10.0
_MAX_RULES = 32_000
_NO_MODELS = "The server gives its runs no access to models: update it, or take another runtime."
_SYSTEM = """\
You are a software engineer who works in a git repository, by the tools you are given. You are at
the root of its work tree; paths are relative to that.

Look before you change: read the code around, and follow its style. Make the smallest change that
does the whole task. Run the tests that belong to it. Do not commit: that is done for you, and what
you leave in the work tree is the change, so leave no scratch files behind. Ask only what you cannot
find out yourself. When all is done, or when you cannot go on, call finish."""


class LlmRuntime:
    """A small agent of our own: it needs access to a model, and no program."""

    name = "llm"
    is_agent = True
    uses_models = True

    async def detect(self) -> RuntimeInfo:
        """It comes with us."""
        return RuntimeInfo(
            name=self.name, is_available=True, takes_messages=True, uses_models=True, asks=True
        )

    async def run(self, context: RunContext) -> RunOutcome:
        """Have the agent work until it says that it has finished."""
        brief, access = brief_of(context), context.models
        if access is None:
            return _not_begun(context.models_problem or _NO_MODELS, FailureClass.AUTH_FAILED)
        model = brief.model or access.default_model or next(iter(access.models), None)
        if model is None:
            return _not_begun(
                "No model is named: give one with --model.", FailureClass.MODEL_INVALID
            )
        conversation = Conversation(_system(context), prompt_of(context, is_resumed=False))
        async with _http(access.base_url) as http:
            gateway = Gateway(access, http)
            door = ModelDoor(gateway, gateway)
            own = await find_own_tools(context.mcp, http) if context.mcp is not None else None
            return await BuiltInAgent(context, door, model, conversation, own).run()


class Gateway(Unmetered):
    """The gateway, which keeps the books itself, by the two of its languages that we speak."""

    def __init__(self, access: ModelAccess, http: httpx2.AsyncClient) -> None:
        """Ask with this key."""
        self._access = access
        self._http = http
        self._answered: Endpoint | None = None

    async def find(self, model: str) -> Sequence[Endpoint]:
        """Whoever has answered, or else both: the provider of the model speaks one of them."""
        if self._answered is not None:
            return (self._answered,)
        base, key = self._access.base_url, self._access.key
        anthropic = Endpoint(
            kind="anthropic", base_url=f"{base}/anthropic", model=model, key=key, http=self._http
        )
        openai = Endpoint(
            kind="openai", base_url=f"{base}/openai/v1", model=model, key=key, http=self._http
        )
        return (anthropic, openai) if model.startswith("claude") else (openai, anthropic)

    async def settle(
        self, call: PlannedCall, used: Used, *, duration_ms: int, is_estimated: bool
    ) -> None:
        """Remember who answers."""
        await super().settle(call, used, duration_ms=duration_ms, is_estimated=is_estimated)
        if not is_estimated:
            self._answered = call.endpoint

    async def note_limit(self, endpoint: Endpoint, seconds: float, reason: str) -> None:
        """The gateway has seen it itself."""


def _system(context: RunContext) -> str:
    brief = brief_of(context)
    parts = [_SYSTEM, brief.system_prompt or ""]
    if brief.rules_file_path:
        try:
            rules = Tree(context.worktree.resolve()).read(brief.rules_file_path)
            name = PurePosixPath(brief.rules_file_path).name
            parts.append(f"# The repository's rules ({name})\n\n{rules[:_MAX_RULES]}")
        except ToolRefused:
            # The first words name the file: the agent finds out by itself.
            pass
    return "\n\n".join(part for part in parts if part)


def _http(base_url: str) -> httpx2.AsyncClient:
    host = urlsplit(base_url).hostname or ""
    timeout = httpx2.Timeout(None, connect=_CONNECT_SECONDS)
    if not _is_loopback(host):
        return httpx2.AsyncClient(timeout=timeout)
    # A proxy set for the outside world must not be asked for the loopback server.
    return httpx2.AsyncClient(timeout=timeout, transport=httpx2.AsyncHTTPTransport(trust_env=True))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _not_begun(message: str, failure_class: FailureClass) -> RunOutcome:
    return RunOutcome(
        reason=ExitReason.EXITED,
        exit_code=None,
        duration_seconds=0.0,
        message=message,
        failure=RunFailure(failure_class, message),
        told_result=False,
    )

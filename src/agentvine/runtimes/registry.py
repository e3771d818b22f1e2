"""Which runtimes there are."""

import asyncio
from collections.abc import Iterable, Sequence

from agentvine.kit.errors import Invalid
from agentvine.runtimes.acp import acp_runtimes
from agentvine.runtimes.base import LoginState, Runtime, RuntimeInfo
from agentvine.runtimes.codex import CodexRuntime
from agentvine.runtimes.command import CommandRuntime
from agentvine.runtimes.llm import LlmRuntime
from agentvine.runtimes.one_shot import AiderRuntime, MiniSweAgentRuntime
from agentvine.runtimes.scripted import ScriptedRuntime
from agentvine.runtimes.stream_json import ClaudeCodeRuntime, QwenRuntime


class RuntimeUnknown(Invalid):
    """There is no runtime of this name."""

    code = "runtime_unknown"


class RuntimeNotUsable(Invalid):
    """A runtime that is wanted does not work on this machine."""

    code = "runtime_not_usable"


class RuntimeRegistry:
    """Runtimes by name."""

    def __init__(self, runtimes: Iterable[Runtime]) -> None:
        """Hold these runtimes."""
        self._runtimes = {runtime.name: runtime for runtime in runtimes}

    @property
    def names(self) -> list[str]:
        """All names, in order."""
        return sorted(self._runtimes)

    def get(self, name: str) -> Runtime:
        """The runtime of this name.

        Raises:
            RuntimeUnknown: There is none.
        """
        try:
            return self._runtimes[name]
        except KeyError:
            raise RuntimeUnknown(
                f"{name!r} is not a runtime; there are: {', '.join(self.names)}.", runtime=name
            ) from None


def builtin_runtimes() -> RuntimeRegistry:
    """Every runtime that comes with AgentVine."""
    return RuntimeRegistry(
        [
            CommandRuntime(),
            LlmRuntime(),
            ScriptedRuntime(),
            ClaudeCodeRuntime(),
            QwenRuntime(),
            CodexRuntime(),
            *acp_runtimes(),
            MiniSweAgentRuntime(),
            AiderRuntime(),
        ]
    )


async def detect_runtimes(
    registry: RuntimeRegistry, names: Sequence[str] = ()
) -> list[RuntimeInfo]:
    """What is here of these runtimes, or of all, by name.

    Raises:
        RuntimeUnknown: One of the names is none.
    """
    wanted = [registry.get(name) for name in names or registry.names]
    # Some programs take seconds to tell their version.
    return list(await asyncio.gather(*(runtime.detect() for runtime in wanted)))


async def require_runtime(name: str) -> None:
    """See that a runtime works on this machine.

    Raises:
        RuntimeUnknown: There is none of this name.
        RuntimeNotUsable: It does not; the text says what to do.
    """
    [found] = await detect_runtimes(builtin_runtimes(), [name])
    if not found.is_available:
        told = f"{name}: {found.problem}"
        if found.login is LoginState.MISSING and found.login_help:
            told += f". It is not logged in, either. {found.login_help}"
        raise RuntimeNotUsable(told)

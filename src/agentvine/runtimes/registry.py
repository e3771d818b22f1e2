"""Which runtimes there are."""

from collections.abc import Iterable

from agentvine.kit.errors import Invalid
from agentvine.runtimes.acp import acp_runtimes
from agentvine.runtimes.base import Runtime
from agentvine.runtimes.command import CommandRuntime
from agentvine.runtimes.llm import LlmRuntime
from agentvine.runtimes.scripted import ScriptedRuntime
from agentvine.runtimes.stream_json import ClaudeCodeRuntime, QwenRuntime


class RuntimeUnknown(Invalid):
    """There is no runtime of this name."""

    code = "runtime_unknown"


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
            *acp_runtimes(),
        ]
    )

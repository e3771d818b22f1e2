"""One request, as the door hands it to the library, and what may come of it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from agentvine.llm.messages import Conversation, Reply, Tool, Used
from agentvine.llm.ports import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """One request."""

    endpoint: Endpoint
    conversation: Conversation
    tools: Sequence[Tool]
    must_call: bool
    """Whether the reply must be a call of one of the tools."""
    max_output: int
    timeout_seconds: float
    temperature: float | None


@dataclass(slots=True)
class CallFailed(Exception):
    """A call failed, told in a way that needs no library to be understood."""

    message: str
    status: int | None = None
    """None: no answer came."""
    retry_after: float | None = None
    may_retry: bool = True
    was_sent: bool = False
    """Whether the provider may have begun to work, and count it."""
    is_too_long: bool = False


class OpenStream(Protocol):
    """A reply as it comes."""

    def pieces(self) -> AsyncGenerator[str]:
        """What is said, piece by piece; also empty ones, when something else has come.

        Raises:
            CallFailed: It broke off.
        """
        ...

    @property
    def used(self) -> Used:
        """As far as it is told."""
        ...

    @property
    def reply(self) -> Reply:
        """As far as it has come."""
        ...


@dataclass(frozen=True, slots=True)
class Library:
    """What makes requests. Both raise ``CallFailed``."""

    ask: Callable[[Asking], Awaitable[Reply]]
    open_stream: Callable[[Asking], AbstractAsyncContextManager[OpenStream]]

"""What the door needs from who opens it: where models are, and who keeps the books."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import httpx2

from agentvine.llm.messages import Used

Kind = Literal["anthropic", "openai"]
"""The language that is spoken; ``openai`` is Chat Completions, as most servers speak it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One place that can be asked for a model."""

    kind: Kind
    base_url: str
    """That of an OpenAI-like one holds its ``/v1``, Anthropic's no version."""
    model: str
    """What the provider calls it."""
    key: str | None = field(default=None, repr=False)
    http: httpx2.AsyncClient = field(repr=False, compare=False)
    """What asks; whoever made it closes it."""
    name: str = ""
    """For people."""
    is_openais: bool = False
    """Whether OpenAI itself is asked; others know its older words alone."""
    origin: object = field(default=None, repr=False, compare=False)
    """What whoever found it knows it by."""


class Endpoints(Protocol):
    """Finds them."""

    async def find(self, model: str) -> Sequence[Endpoint]:
        """Where to ask for a model, best first; never empty.

        Raises:
            AppError: Nobody is there to be asked; the detail says what to set.
        """
        ...

    async def note_limit(self, endpoint: Endpoint, seconds: float, reason: str) -> None:
        """Remember that this one takes no calls for a while."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A call that is about to be made; each attempt is one of its own."""

    request_id: str
    endpoint: Endpoint
    asked_model: str
    input_bound: int
    """No provider counts more tokens for what goes in."""
    max_output: int


class Meter(Protocol):
    """Keeps the books of calls: ``reserve``, then ``settle`` or ``release``, exactly once."""

    async def reserve(self, call: PlannedCall) -> int:
        """Set aside what it may cost; how many tokens the answer may have, which may be fewer.

        Raises:
            AppError: A budget has no room for it, or nobody knows the price.
        """
        ...

    async def shrink(self, call: PlannedCall, used: Used) -> None:
        """Give back what is not needed, now that it is known what went in."""
        ...

    async def settle(
        self, call: PlannedCall, used: Used, *, duration_ms: int, is_estimated: bool
    ) -> None:
        """Count what was used."""
        ...

    async def release(self, call: PlannedCall) -> None:
        """Free what was set aside: the provider did not take the call."""
        ...


class Unmetered:
    """Keeps no books: the other side does, as the gateway."""

    async def reserve(self, call: PlannedCall) -> int:
        """All it asks for."""
        return call.max_output

    async def shrink(self, call: PlannedCall, used: Used) -> None:
        """Nothing is set aside."""

    async def settle(
        self, call: PlannedCall, used: Used, *, duration_ms: int, is_estimated: bool
    ) -> None:
        """Nobody counts here."""

    async def release(self, call: PlannedCall) -> None:
        """Nothing is set aside."""

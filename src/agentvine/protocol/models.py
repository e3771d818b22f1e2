"""How a run reaches language models: its key, and what it may ask for."""

import uuid

from pydantic import Field

from agentvine.protocol.base import Input, Output


class ModelAccessIn(Input):
    """Which claim asks."""

    order_id: uuid.UUID
    fence: int = Field(ge=0)


class ModelAccessOut(Output):
    """A key for the gateway, good as long as the claim is."""

    key: str = Field(repr=False)
    """Sent as ``Authorization: Bearer``, ``x-api-key``, ``x-goog-api-key`` or ``?key=``; empty
    where nobody is there to ask."""
    path: str
    """Where the gateway is below ``url``, or else the server's address; then come ``/anthropic``,
    ``/openai/v1`` or ``/gemini``, as each language has it."""
    url: str | None = None
    """The address of a gateway apart from the server, where there is one."""
    models: list[str]
    """Names and aliases that may be asked for; none: whatever has a price."""
    default_model: str | None = None
    is_available: bool
    """Whether anybody is there to ask."""
    problem: str | None = None
    """What to set where nobody is."""

"""What a request can reach: built once by the composition root, fetched by dependencies."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, cast

from fastapi import Request

from agentvine.config.settings import Settings
from agentvine.db.session import Database
from agentvine.kit.actor import Actor
from agentvine.kit.clock import Clock

T = TypeVar("T")


class Authenticator(Protocol):
    """Finds out who calls; the identity slice has the one implementation."""

    async def authenticate(self, token: str) -> Actor:
        """The actor a bearer token stands for.

        Raises:
            Unauthenticated: Unknown, expired or revoked token, or its user is not active.
        """
        ...


@dataclass(frozen=True, slots=True)
class HttpState:
    """The objects behind the routes."""

    database: Database
    settings: Settings
    clock: Clock
    authenticator: Authenticator
    effects: Mapping[type[Any], object] = field(default_factory=dict[type[Any], object])
    """Effect objects by their class: what talks to git, the outside, or runs for long."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server shuts down: waiting requests and streams end at once."""

    def effect(self, kind: type[T]) -> T:
        """The one effect object of a class."""
        return cast("T", self.effects[kind])


async def state_of(request: Request) -> HttpState:
    """The state the composition root put into the application.

    A coroutine, though it waits for nothing: FastAPI runs any other in a thread, for each request.
    """
    return cast("HttpState", request.app.state.agentvine)

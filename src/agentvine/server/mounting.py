"""Lets the gateway answer before anything else looks at a request."""

from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from agentvine.domains.gateway.relay import Gateway
from agentvine.domains.gateway.routes import PREFIX

_BELOW = f"{PREFIX}/"


class GatewayMount:
    """Raw ASGI: a model's answer passes through as few hands as possible."""

    def __init__(self, app: ASGIApp, gateway_of: Callable[[Any], Gateway]) -> None:
        """Wrap the application, which answers to all other addresses; its state has the gateway."""
        self.app = app
        self._gateway_of = gateway_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith(_BELOW):
            gateway = self._gateway_of(scope["app"].state.agentvine)
            await gateway(scope, receive, send)
        else:
            await self.app(scope, receive, send)

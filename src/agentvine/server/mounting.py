"""Lets the gateway answer before anything else looks at a request."""

from starlette.types import ASGIApp, Receive, Scope, Send

from agentvine.domains.gateway.relay import Gateway
from agentvine.domains.gateway.routes import PREFIX
from agentvine.http.state import HttpState

_BELOW = f"{PREFIX}/"


class GatewayMount:
    """Raw ASGI: a model's answer passes through as few hands as possible."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap the application, which answers to all other addresses."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith(_BELOW):
            state: HttpState = scope["app"].state.agentvine
            await state.effect(Gateway)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

"""What an application answers to, and what each address asks of its caller."""

from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from agentvine.http.deps import permission_of


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One method of one address."""

    path: str
    method: str
    permission: str | None
    """What the route declares it needs; None when it declares nothing."""


def endpoints_of(app: FastAPI) -> list[Endpoint]:
    """Every method of every route of ours, those of included routers too.

    ``app.routes`` alone is not enough: an included router is one entry there, without its routes.
    """
    return sorted(
        Endpoint(str(context.path), method, permission_of(context.dependant))
        for context in iter_route_contexts(app.routes)
        if isinstance(context.original_route, APIRoute)
        for method in context.methods or ()
    )

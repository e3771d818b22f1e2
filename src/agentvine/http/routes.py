"""What an application answers to, and what each address asks of its caller."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import BaseRoute

from agentvine.http.deps import permission_of
from agentvine.kit.errors import Internal


class PermissionUndeclared(Internal):
    """A route does not say what it needs."""

    code = "permission_undeclared"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One method of one address."""

    path: str
    method: str
    permission: str | None
    """What the route declares it needs; None when it declares nothing."""


def endpoints_of(routes: Sequence[BaseRoute]) -> list[Endpoint]:
    """Every method of every route of ours, those of included routers too.

    An application's ``routes`` alone are not enough: an included router is one entry there.
    """
    return sorted(
        Endpoint(str(context.path), method, permission_of(context.dependant))
        for context in iter_route_contexts(routes)
        if isinstance(context.original_route, APIRoute)
        for method in context.methods or ()
    )


def require_permissions(routes: Sequence[BaseRoute]) -> None:
    """See that each route says what it needs, or that it is public.

    Raises:
        PermissionUndeclared: One does not.
    """
    for endpoint in endpoints_of(routes):
        if endpoint.permission is None:
            raise PermissionUndeclared(f"{endpoint.method} {endpoint.path} declares no permission.")

"""What tokens may be limited to: ``<area>:read``, ``<area>:write``, and a few more."""

from collections.abc import Iterable

from agentvine.domains.identity.errors import ScopeTooWide, ScopeUnknown
from agentvine.kit.actor import UserActor

_AREAS = (
    "projects",
    "tasks",
    "queue",
    "workers",
    "executions",
    "modifications",
    "budgets",
    "models",
    "agents",
    "questions",
    "conversations",
    "plans",
    "knowledge",
    "templates",
)

SCOPES: frozenset[str] = frozenset(
    {f"{area}:{verb}" for area in _AREAS for verb in ("read", "write")}
    | {"self:own", "tokens:read", "tokens:own", "users:read", "users:admin"}
    | {"notifications:read", "notifications:own"}
    | {"workers:admin", "queue:admin", "usage:read", "models:admin"}
)


def check_scopes(actor: UserActor, wanted: Iterable[str]) -> list[str]:
    """The wanted scopes, sorted; with none wanted, those of the token that asks.

    Raises:
        ScopeUnknown: A scope does not exist.
        ScopeTooWide: The asking token does not hold one of them.
    """
    asked = set(wanted)
    if unknown := sorted(asked - SCOPES):
        raise ScopeUnknown(
            f"{', '.join(unknown)}: choose from {', '.join(sorted(SCOPES))}.", unknown=unknown
        )
    if not actor.scopes:
        return sorted(asked)
    if wider := sorted(asked - actor.scopes):
        raise ScopeTooWide(f"Your own token does not hold {', '.join(wider)}.", scopes=wider)
    return sorted(asked or actor.scopes)

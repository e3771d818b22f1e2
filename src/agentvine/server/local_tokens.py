"""Tokens that ``agentvine up`` makes for its own workers and for commands on the same machine."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select, update

from agentvine.db.session import Database, Transaction
from agentvine.domains.identity import tokens
from agentvine.domains.identity.enums import TokenKind, UserRole
from agentvine.domains.identity.models import ApiToken, User
from agentvine.domains.workers.models import Worker
from agentvine.kit.actor import SystemActor
from agentvine.kit.errors import Unavailable

_UP = SystemActor("up")


class NoAdmin(Unavailable):
    """Nobody administers this installation."""

    code = "no_admin"


@dataclass(frozen=True, slots=True)
class LocalTokens:
    """The texts of the tokens of one ``up``."""

    command_line: str
    workers: dict[str, str]


async def issue_local_tokens(
    database: Database, *, place: str, workers: Sequence[str]
) -> LocalTokens:
    """Make a token for the command line and one for each worker.

    Those of an ``up`` on the same place that could not revoke its own are revoked first.

    Raises:
        NoAdmin: There is no active admin in whose name the command line could act.
    """
    async with database.transaction(_UP) as tx:
        await _revoke(tx, [place, *workers])
        admin = await tx.scalar(
            select(User)
            .where(User.role == UserRole.ADMIN, User.is_active.is_(True))
            .order_by(User.created_at, User.id)
            .limit(1)
        )
        if admin is None:
            raise NoAdmin("Give one back with `agentvine user edit NAME --role admin --active`.")
        _, command_line = await tokens.issue_token(
            tx, kind=TokenKind.USER, name=place, user_id=admin.id, scopes=[]
        )
        made: dict[str, str] = {}
        for name in workers:
            token, made[name] = await tokens.issue_token(
                tx, kind=TokenKind.WORKER, name=name, user_id=admin.id, scopes=[]
            )
            # A worker is bound to its token; this one is the same worker, started anew by us.
            await tx.execute(update(Worker).where(Worker.name == name).values(token_id=token.id))
    return LocalTokens(command_line, made)


async def revoke_local_tokens(database: Database, *, place: str, workers: Sequence[str]) -> None:
    """End the tokens again; nobody is to find them useful later."""
    async with database.transaction(_UP) as tx:
        await _revoke(tx, [place, *workers])


async def _revoke(tx: Transaction, names: Sequence[str]) -> None:
    rows = await tx.scalars(
        select(ApiToken).where(ApiToken.name.in_(names), ApiToken.revoked_at.is_(None))
    )
    for row in rows:
        await tokens.revoke_token(tx, row)

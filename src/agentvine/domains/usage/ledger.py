"""The books, for who makes calls: each step a transaction of its own."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from agentvine.db.session import Database
from agentvine.domains.usage import books
from agentvine.domains.usage.books import Settled
from agentvine.domains.usage.calls import Call, Outcome
from agentvine.domains.usage.errors import BudgetExceeded
from agentvine.kit.actor import SystemActor

_ACTOR = SystemActor("gateway")
_TRIES = 5


@dataclass(slots=True)
class Ledger:
    """Reserves, settles and releases calls, for one process."""

    database: Database
    owner: str
    """The process, for who looks at what a dead one has left."""
    lifetime: timedelta = timedelta(minutes=15)
    """After so long without a settlement a call counts as spent; a late one corrects that."""

    async def reserve(self, call: Call, most_usd: Decimal, least_usd: Decimal) -> Decimal:
        """Set aside what a call may cost; returns how much, which is less where less is left.

        Args:
            call: What is about to be called, and who pays.
            most_usd: An upper bound of its cost.
            least_usd: With less than this it is not worth calling.

        Raises:
            BudgetExceeded: A budget that blocks has no room even for the least.
        """
        amount = most_usd
        for _ in range(_TRIES):
            try:
                async with self.database.transaction(_ACTOR) as tx:
                    await books.reserve(tx, call, amount, lifetime=self.lifetime, owner=self.owner)
            except BudgetExceeded as error:
                room = _room(error)
                if room < least_usd or room >= amount:
                    raise
                amount = room
            else:
                return amount
        return await self._reserve_least(call, least_usd)

    async def _reserve_least(self, call: Call, amount: Decimal) -> Decimal:
        async with self.database.transaction(_ACTOR) as tx:
            await books.reserve(tx, call, amount, lifetime=self.lifetime, owner=self.owner)
        return amount

    async def shrink(self, request_id: str, amount_usd: Decimal) -> None:
        """Give back what a call under way is now known not to need.

        Raises:
            CallUnknown: Nothing is reserved for it.
        """
        async with self.database.transaction(_ACTOR) as tx:
            await books.shrink(tx, request_id, amount_usd)

    async def release(self, request_id: str) -> None:
        """Free what was reserved for a call that no provider took.

        Raises:
            CallUnknown: Nothing is reserved for it.
        """
        async with self.database.transaction(_ACTOR) as tx:
            await books.release(tx, request_id)

    async def settle(self, call: Call, outcome: Outcome) -> Settled:
        """Count a call: what it cost is spent, and the rest of what was reserved is free."""
        async with self.database.transaction(_ACTOR) as tx:
            return await books.settle(tx, call, outcome)


def _room(error: BudgetExceeded) -> Decimal:
    held = Decimal(error.extra["spent_usd"]) + Decimal(error.extra["reserved_usd"])
    return Decimal(error.extra["amount_usd"]) - held

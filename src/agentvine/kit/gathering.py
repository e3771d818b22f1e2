"""Requests that come while others are under way go together afterwards.

What comes alone goes alone, at once. Nobody waits for company, unless it is said that they may.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from agentvine.kit.guards import assert_no_transaction

Item = TypeVar("Item")
Result = TypeVar("Result")


class Gatherer(Generic[Item, Result]):
    """Hands over what has gathered, as so many turns at a time as it may."""

    def __init__(
        self,
        work: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        fits: Callable[[Sequence[Item], Item], bool],
        turns_at_once: int,
        worth_a_turn: int = 1,
        company_seconds: float = 0.0,
    ) -> None:
        """Prepare; nothing has gathered yet.

        Args:
            work: Does one turn; returns a result for each item, in their order.
            fits: Whether an item may go with those that have been chosen for a turn.
            turns_at_once: How many turns may be under way at the same time. What has gathered is
                spread over those that are free.
            worth_a_turn: So few are not spread any further.
            company_seconds: What comes so soon after another waits so long for more.
        """
        self._work = work
        self._fits = fits
        self._turns_at_once = turns_at_once
        self._worth_a_turn = worth_a_turn
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._under_way: set[asyncio.Task[None]] = set()
        self._company_seconds = company_seconds
        self._last_came = float("-inf")
        self._is_called = False

    async def join(self, item: Item) -> Result:
        """What becomes of an item; it is handed over with others, or alone.

        Whoever is cancelled meanwhile leaves the others' turn to go on. An error of a turn is that
        of everyone in it.
        """
        assert_no_transaction("wait for others")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((item, done))
        now, last = loop.time(), self._last_came
        self._last_came = now
        if not self._is_called and len(self._under_way) < self._turns_at_once:
            self._is_called = True
            if now - last < self._company_seconds:
                loop.call_later(self._company_seconds, self._begin)
            else:
                # Not at once: all that this round of the loop brings goes together.
                loop.call_soon(self._begin)
        return await done

    def _begin(self) -> None:
        self._is_called = False
        while (free := self._turns_at_once - len(self._under_way)) and (
            chosen := self._choose(max(self._worth_a_turn, -(-len(self._waiting) // free)))
        ):
            turn = asyncio.get_running_loop().create_task(self._take_turn(chosen))
            self._under_way.add(turn)
            turn.add_done_callback(self._end)

    def _end(self, turn: asyncio.Task[None]) -> None:
        self._under_way.discard(turn)
        if self._waiting and not self._is_called:
            self._begin()

    def _choose(self, most: int) -> list[tuple[Item, "asyncio.Future[Result]"]]:
        chosen: list[tuple[Item, asyncio.Future[Result]]] = []
        items: list[Item] = []
        left: list[tuple[Item, asyncio.Future[Result]]] = []
        for item, done in self._waiting:
            if done.done():
                continue  # nobody waits for it any more
            if not items or (len(items) < most and self._fits(items, item)):
                items.append(item)
                chosen.append((item, done))
            else:
                left.append((item, done))
        self._waiting = left
        return chosen

    async def _take_turn(self, chosen: Sequence[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        try:
            results = await self._work([item for item, _ in chosen])
            for (_, done), result in zip(chosen, results, strict=True):
                if not done.done():
                    done.set_result(result)
        except Exception as error:  # noqa: BLE001  # the boundary of a turn: all who wait are told
            for _, done in chosen:
                if not done.done():
                    done.set_exception(error)
        finally:
            for _, done in chosen:
                done.cancel()

"""What comes while others are under way goes together, and nobody pays for another's end."""

import asyncio
from collections.abc import Sequence

import pytest

from agentvine.kit.gathering import Gatherer
from agentvine.kit.guards import WaitingInsideTransaction, transaction_mark

_COMPANY_SECONDS = 2.0
"""Longer than a busy machine takes for a few rounds of its loop."""


class Counter:
    """Work that waits for a sign, and remembers what it was given together."""

    def __init__(self) -> None:
        self.turns: list[list[int]] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()

    async def work(self, items: Sequence[int]) -> Sequence[int]:
        self.turns.append(list(items))
        self.begun.set()
        await self.go.wait()
        if 13 in items:
            raise ValueError("thirteen")
        return [item * 2 for item in items]


def gatherer(
    counter: Counter,
    turns_at_once: int = 1,
    most: int = 100,
    worth_a_turn: int = 1,
    company_seconds: float = 0.0,
) -> Gatherer[int, int]:
    return Gatherer(
        counter.work,
        fits=lambda chosen, item: item not in chosen and len(chosen) < most,
        turns_at_once=turns_at_once,
        worth_a_turn=worth_a_turn,
        company_seconds=company_seconds,
    )


async def ended(*tasks: "asyncio.Task[int]") -> list[int | BaseException]:
    async with asyncio.timeout(60):
        return await asyncio.gather(*tasks, return_exceptions=True)


async def started(counter: Counter, together: Gatherer[int, int]) -> "asyncio.Task[int]":
    """The first, under way alone."""
    first = asyncio.create_task(together.join(1))
    async with asyncio.timeout(60):
        await counter.begun.wait()
    return first


async def test_what_comes_alone_goes_alone_and_what_comes_meanwhile_together():
    counter = Counter()
    together = gatherer(counter)
    first = await started(counter, together)
    others = [asyncio.create_task(together.join(item)) for item in (2, 3, 4)]
    counter.go.set()
    assert await ended(first, *others) == [2, 4, 6, 8]
    assert counter.turns == [[1], [2, 3, 4]]


async def test_what_does_not_fit_goes_in_a_later_turn():
    counter = Counter()
    counter.go.set()
    together = gatherer(counter, most=2)
    tasks = [asyncio.create_task(together.join(item)) for item in (5, 5, 6, 7)]
    assert await ended(*tasks) == [10, 10, 12, 14]
    assert counter.turns == [[5, 6], [5, 7]]


async def test_several_turns_may_be_under_way():
    counter = Counter()
    together = gatherer(counter, turns_at_once=2, most=1)
    tasks = [asyncio.create_task(together.join(item)) for item in (1, 2, 3)]
    async with asyncio.timeout(60):
        await counter.begun.wait()
    await asyncio.sleep(0)
    assert counter.turns == [[1], [2]]
    counter.go.set()
    assert await ended(*tasks) == [2, 4, 6]


async def test_what_has_gathered_is_spread_over_the_free_turns_where_that_is_worth_it():
    for least, turns in ((1, [[1, 2, 3], [4, 5, 6]]), (4, [[1, 2, 3, 4], [5, 6]])):
        counter = Counter()
        counter.go.set()
        together = Gatherer(counter.work, fits=lambda *_: True, turns_at_once=2, worth_a_turn=least)
        tasks = [asyncio.create_task(together.join(item)) for item in range(1, 7)]
        assert await ended(*tasks) == [2, 4, 6, 8, 10, 12]
        assert counter.turns == turns


async def test_an_error_is_told_to_those_of_its_turn_alone():
    counter = Counter()
    together = gatherer(counter)
    first = await started(counter, together)
    bad = [asyncio.create_task(together.join(item)) for item in (13, 14)]
    counter.go.set()
    one, *two = await ended(first, *bad)
    assert one == 2
    assert [str(error) for error in two] == ["thirteen", "thirteen"]
    assert await ended(asyncio.create_task(together.join(5))) == [10]


async def test_who_goes_away_leaves_the_others_turn_to_go_on():
    counter = Counter()
    together = gatherer(counter)
    first = await started(counter, together)
    waiting = [asyncio.create_task(together.join(item)) for item in (2, 3)]
    await asyncio.sleep(0)
    first.cancel()
    waiting[0].cancel()
    counter.go.set()
    gone, left, stayed = await ended(first, *waiting)
    assert isinstance(gone, asyncio.CancelledError)
    assert isinstance(left, asyncio.CancelledError)
    assert stayed == 6
    assert counter.turns == [[1], [3]]


async def test_nobody_waits_for_others_inside_a_transaction():
    together = gatherer(Counter())
    with transaction_mark("a test"), pytest.raises(WaitingInsideTransaction):
        await together.join(1)


async def test_what_comes_soon_after_another_waits_for_more_and_the_first_does_not():
    counter = Counter()
    together = gatherer(counter, turns_at_once=2, worth_a_turn=3, company_seconds=_COMPANY_SECONDS)
    first = await started(counter, together)
    others = [asyncio.create_task(together.join(2))]
    await asyncio.sleep(0)
    counter.go.set()
    assert await ended(first) == [2], "its end lets nobody go who waits for company"
    for item in (3, 4):
        await asyncio.sleep(0)
        others.append(asyncio.create_task(together.join(item)))
    assert await ended(*others) == [4, 6, 8]
    assert counter.turns == [[1], [2, 3, 4]]

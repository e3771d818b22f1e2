"""A server's chores outlive whatever happens to them."""

import asyncio

import pytest

from agentvine.db.session import Database
from agentvine.server.background import Chore, Supervisor

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Deaths:
    """A chore that dies in each way there is, and then does its work."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.turns = 0
        self.done = asyncio.Event()

    async def run(self) -> int:
        """Die, or be done."""
        self.turns += 1
        if self.turns == 1:
            raise RuntimeError("a bug")
        if self.turns == 2:
            raise asyncio.CancelledError  # of something that it waited for
        if self.turns == 3:
            await asyncio.Event().wait()  # for ever
        self.done.set()
        return 0


async def test_each_chore_is_tried_again_however_it_died_and_no_other_is_held_up(
    shared_database: Database,
):
    dying, healthy, ran = Deaths(), asyncio.Event(), 0

    async def count() -> int:
        nonlocal ran
        ran += 1
        if ran == 3:
            healthy.set()
        return 0

    chores = (
        Chore("dies", dying.run, every_seconds=0.01, deadline_seconds=0.05),
        Chore("lives", count, every_seconds=0.01),
    )
    supervisor = Supervisor(shared_database, shared_database.clock, chores)
    supervisor.start()
    try:
        async with asyncio.timeout(60):
            await healthy.wait()
            await dying.done.wait()
    finally:
        await supervisor.stop()
    assert dying.turns >= 4
    assert supervisor.overdue() == []

"""What is answered to a claim is what the worker reads, whatever the order says."""

import asyncio

import pytest

from agentvine.db.session import Database
from agentvine.domains.work.grants import claim_answer
from agentvine.domains.work.waiting import WaitingRoom
from agentvine.kit.ids import random_token
from agentvine.protocol.queue import ClaimIn, ClaimOut
from tests.support.builders.work import SETTINGS, make_crew

pytestmark = pytest.mark.asyncio(loop_scope="module")

TITLE = 'Say "no" \\ to \u2028 {"order_id": 1}, über\tall 🍇'


@pytest.mark.parametrize("is_quick", [True, False], ids=["by the statement", "the long way"])
async def test_an_order_comes_out_as_it_was_put_in(shared_database: Database, is_quick: bool):
    crew = await make_crew(shared_database)
    await crew.enqueue(title=TITLE)
    await crew.enqueue()
    worker = await crew.worker()
    room = WaitingRoom(shared_database, SETTINGS, crew.shortcuts if is_quick else None)
    message = ClaimIn(
        worker_id=worker.worker_id,
        session_id=worker.session_id,
        claim_token=random_token(24),
        slots=2,
    )

    grants = await room.claim(worker.actor, message, asyncio.Event())

    read = ClaimOut.model_validate_json(claim_answer(grants))
    assert read.orders == [grant.order() for grant in grants]
    assert len(read.orders) == 2
    assert read.orders[0].payload.title == TITLE


async def test_an_empty_answer_is_read_as_one():
    assert ClaimOut.model_validate_json(claim_answer([])).orders == []

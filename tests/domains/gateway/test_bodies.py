"""What was said in calls is kept where the operator says so, without secrets, and for so long."""

import pytest

from agentvine.db.session import Database
from agentvine.domains.gateway.bodies import (
    MAX_KEPT_BYTES,
    BodyKeeper,
    CallBodiesNotFound,
    Tape,
    get_bodies,
)
from agentvine.protocol.usage import CallBodiesOut
from tests.domains.gateway.recordings import RECORDINGS
from tests.support.gateway import Run, make_run, running_gateway
from tests.support.upstream import Reply, running_upstream

pytestmark = pytest.mark.asyncio(loop_scope="module")

ANTHROPIC = RECORDINGS[0]
SECRET = "sk-canary-0123456789abcdef"
"""The key that the provider is called with."""


async def say(database: Database, reply: Reply, *, keep_days: float, text: str = "hallo") -> Run:
    run = await make_run(database)
    asked = ANTHROPIC.request | {"messages": [{"role": "user", "content": text}]}
    async with (
        running_upstream(lambda _: reply) as upstream,
        running_gateway(database, upstream.url, keep_days=keep_days) as served,
        served.client(run.key) as client,
    ):
        answer = await client.post(ANTHROPIC.path, json=asked)
        assert answer.status_code == 200
    return run


async def bodies(run: Run) -> CallBodiesOut:
    row = await run.row()
    assert row.request_id is not None
    async with run.database.read() as read:
        return await get_bodies(read, run.crew.ground.owner, row.request_id)


async def test_both_sides_of_a_stream_are_kept_with_their_secrets_masked(shared_database: Database):
    canary = b'event: x\ndata: {"type": "text", "text": "' + SECRET.encode() + b'"}\n\n'
    events = [*ANTHROPIC.events[:-1], canary, ANTHROPIC.events[-1]]
    reply = Reply(events, content_type=ANTHROPIC.content_type)
    run = await say(shared_database, reply, keep_days=1, text="my key is ghp_" + "a1" * 20)

    kept = await bodies(run)

    assert "my key is [redacted]" in kept.request
    expected = b"".join(events).decode()
    assert kept.response == expected.replace(SECRET, "[redacted]")
    assert kept.response_bytes == len(expected.encode())
    assert not kept.is_cut
    assert SECRET not in repr(kept)


async def test_nothing_is_kept_unless_somebody_says_so(shared_database: Database):
    reply = Reply(ANTHROPIC.events, content_type=ANTHROPIC.content_type)
    run = await say(shared_database, reply, keep_days=0)

    with pytest.raises(CallBodiesNotFound, match="AGENTVINE_KEEP_CALL_BODIES_DAYS"):
        await bodies(run)


async def test_what_is_older_is_forgotten_and_nothing_else(shared_database: Database):
    reply = Reply(ANTHROPIC.events, content_type=ANTHROPIC.content_type)
    run = await say(shared_database, reply, keep_days=1)

    assert await BodyKeeper(shared_database, 1).forget() == 0
    assert (await bodies(run)).request
    assert await BodyKeeper(shared_database, 0).forget() >= 1
    with pytest.raises(CallBodiesNotFound):
        await bodies(run)


async def test_of_a_long_answer_the_beginning_is_kept():
    tape = Tape()
    for letter in (b"a", b"b", b"c"):
        tape.take(letter * (MAX_KEPT_BYTES // 2))

    assert tape.length == MAX_KEPT_BYTES // 2 * 3
    assert bytes(tape.kept) == b"a" * (MAX_KEPT_BYTES // 2) + b"b" * (MAX_KEPT_BYTES // 2)

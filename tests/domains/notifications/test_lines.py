"""A channel that is away rests for longer each time, and its trouble is told once."""

from datetime import UTC, datetime

import structlog.testing

from agentvine.domains.notifications.channels.port import Later, Letter, Sent
from agentvine.domains.notifications.lines import Line
from agentvine.kit.clock import ManualClock
from tests.support.senders import Recorder, always, take

LETTER = Letter("1", "subject", "text")
AWAY = Later("is not reached", is_for_all=True)
FULL = Later("box is full")


async def test_a_server_that_is_away_is_asked_less_and_less_until_it_answers():
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    mail = Recorder(answer=always(AWAY))
    line = Line(mail, clock, 10.0)
    rests: list[float] = []
    with structlog.testing.capture_logs() as logs:
        for _ in range(9):
            asked, rest = len(mail.given), 0.0
            while len(mail.given) == asked:
                clock.advance(1.0)
                rest += 1.0
                assert await line.send("a@example.org", LETTER, clock.monotonic() + 1) == AWAY
            rests.append(rest)
        mail.answer = take
        clock.advance(300.0)
        assert await line.send("a@example.org", LETTER, clock.monotonic() + 1) == Sent()
        mail.answer = always(AWAY)
        await line.send("a@example.org", LETTER, clock.monotonic() + 1)
        clock.advance(5.0)
        asked = len(mail.given)
        await line.send("a@example.org", LETTER, clock.monotonic() + 1)
    assert rests == [1.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    assert len(mail.given) == asked + 1, "after a success it begins anew"
    assert [line["event"].rpartition(".")[2] for line in logs] == [
        "channel_fails",
        "channel_works",
        "channel_fails",
    ]


async def test_what_is_one_persons_trouble_is_nobody_elses():
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    mail = Recorder(answer=always(FULL))
    line = Line(mail, clock, 10.0)
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert await line.send("a@example.org", LETTER, clock.monotonic() + 1) == FULL
    assert len(mail.given) == 3
    assert logs == []

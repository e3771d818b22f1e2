"""Watchdogs, each against a program that gives it cause; and against those that do not."""

import asyncio
from pathlib import Path
from time import monotonic

import pytest

from agentvine.kit.process import (
    ExitReason,
    PauseSwitch,
    ProcessExit,
    Stream,
    Watch,
    Watchdog,
    WatchTimes,
    run_process,
)
from tests.support.processes import Output, shell, spec

pytestmark = pytest.mark.timeout(60)

LONG = 600.0


async def watched(script: str, cwd: Path, **times: float) -> ProcessExit:
    """Run a script whose words ``event`` and ``result`` are events and the result."""
    watch = Watch(WatchTimes(**times))

    async def take(_: Stream, chunk: bytes) -> None:
        if b"event" in chunk:
            watch.note_event()
        if b"result" in chunk:
            watch.note_result()

    return await run_process(spec(shell(script), cwd, watch=watch), take)


@pytest.mark.parametrize(
    ("script", "times", "watchdog"),
    [
        ("sleep 30", {"start_up": 0.3, "silence": LONG, "total": LONG}, Watchdog.START_UP),
        (
            "while :; do echo noise; sleep 0.05; done",
            {"start_up": LONG, "first_event": 0.5, "silence": LONG, "total": LONG},
            Watchdog.FIRST_EVENT,
        ),
        (
            "echo event; sleep 30",
            {"start_up": LONG, "first_event": LONG, "silence": 0.3, "total": LONG},
            Watchdog.SILENCE,
        ),
        (
            "echo event; echo result; while :; do echo more; sleep 0.05; done",
            {"silence": LONG, "after_result": 0.3, "total": LONG},
            Watchdog.AFTER_RESULT,
        ),
        (
            "while :; do echo event; sleep 0.05; done",
            {"start_up": LONG, "first_event": LONG, "silence": LONG, "total": 0.5},
            Watchdog.TOTAL,
        ),
    ],
)
async def test_each_watchdog_ends_what_it_looks_after(
    script: str, times: dict[str, float], watchdog: Watchdog, tmp_path: Path
):
    ended = await watched(script, tmp_path, **times)
    assert ended.watchdog is watchdog
    is_total = watchdog is Watchdog.TOTAL
    assert ended.reason is (ExitReason.TIMEOUT if is_total else ExitReason.WATCHDOG)


async def test_a_program_that_keeps_talking_and_ends_in_time_wakes_nobody(tmp_path: Path):
    script = "for i in 1 2 3 4 5 6; do echo event; sleep 0.2; done; echo result"
    times = {"start_up": LONG, "first_event": LONG, "silence": 10.0, "after_result": LONG}
    ended = await watched(script, tmp_path, **times)
    assert (ended.reason, ended.watchdog, ended.exit_code) == (ExitReason.EXITED, None, 0)


class ManualTime:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def due(watch: Watch) -> tuple[Watchdog, float] | None:
    return watch._pending()


def test_the_clocks_begin_where_they_should():
    time = ManualTime()
    times = WatchTimes(start_up=10, first_event=20, silence=30, after_result=5, total=100)
    watch = Watch(times, time)
    assert due(watch) == (Watchdog.START_UP, 110)
    time.now = 105
    watch.note_output()
    assert due(watch) == (Watchdog.FIRST_EVENT, 120)
    time.now = 110
    watch.note_event()
    assert due(watch) == (Watchdog.SILENCE, 140)
    time.now = 130
    watch.note_output()
    assert due(watch) == (Watchdog.SILENCE, 160)
    time.now = 150
    watch.note_result()
    time.now = 151
    watch.note_result()
    watch.note_output()
    assert due(watch) == (Watchdog.AFTER_RESULT, 155), "the first result counts"
    assert due(Watch(WatchTimes(), time)) is None


def test_a_pause_moves_every_clock():
    time = ManualTime()
    watch = Watch(WatchTimes(silence=30, after_result=5, total=100), time)
    watch.note_event()
    time.now = 110
    watch.pause()
    watch.pause()
    assert due(watch) is None
    time.now = 1110
    watch.note_output()
    watch.resume()
    watch.resume()
    assert due(watch) == (Watchdog.SILENCE, 1140)
    watch.note_result()
    assert due(watch) == (Watchdog.AFTER_RESULT, 1115)
    time.now = 1190
    assert Watch(WatchTimes(total=100), time)._pending() == (Watchdog.TOTAL, 1290)


async def test_a_paused_program_is_not_ended_for_its_silence(tmp_path: Path):
    watch = Watch(WatchTimes(silence=2.5, total=3.0))
    pause, output = PauseSwitch(), Output()
    script = "echo event; while ! test -e go; do sleep 0.05; done; echo result"
    started = monotonic()
    task = asyncio.create_task(
        run_process(spec(shell(script), tmp_path, watch=watch), output.take, pause=pause)
    )
    await output.wait_for()
    pause.pause()
    done, _ = await asyncio.wait([task], timeout=4)
    assert not done, "it outlives both of its times"
    (tmp_path / "go").touch()
    pause.resume()
    ended = await task
    assert ended.is_success
    assert 0 < ended.duration_seconds <= monotonic() - started - pause.stood_still_seconds()


def test_how_long_a_run_stood_still_is_the_sum_of_its_pauses():
    time = ManualTime()
    switch = PauseSwitch(time)
    told: list[bool] = []
    switch.on_settled = lambda: told.append(switch.stands_still)
    time.now = 110
    switch.settle(stands_still=False)
    assert switch.stood_still_seconds() == 0
    switch.settle(stands_still=True)
    time.now = 113
    switch.settle(stands_still=True)
    assert switch.stood_still_seconds() == 3
    switch.settle(stands_still=False)
    time.now = 200
    assert switch.stood_still_seconds() == 3
    switch.settle(stands_still=True)
    time.now = 207
    assert switch.stood_still_seconds() == 10
    assert told == [True, False, True]

"""Many courses of things in simulated time, each with all its faults drawn from one seed.

CI runs the same seeds every time, as many as fit into the seconds it has. ``just chaos`` begins
with a seed drawn by lot and takes longer. ``AGENTVINE_SIM_SEED`` repeats one.
"""

import os
import time
from collections.abc import Iterator

import pytest

from agentvine.config.settings import QueueSettings
from tests.reliability.simulator import scenarios
from tests.reliability.simulator.ground import Prepared
from tests.reliability.simulator.world import LEASE_SECONDS, QUEUE, Scenario, simulate
from tests.support.histories.checker import find_violations
from tests.support.histories.history import History, Kind
from tests.support.histories.report import report

SECONDS = float(os.environ.get("AGENTVINE_SIM_SECONDS", "10"))
FIRST_SEED = int(os.environ.get("AGENTVINE_SIM_SEED", "1"))
FEWEST = 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240 + 4 * SECONDS)]


def courses(scenario: Scenario, prepared: Prepared, first: int) -> Iterator[tuple[int, History]]:
    """Histories of seed after seed, until the time is over."""
    end = time.monotonic() + SECONDS
    seed = first
    while time.monotonic() < end or seed < first + FEWEST:
        yield seed, simulate(seed, prepared, scenario)
        seed += 1
    report("simulation", scenario=scenario.__name__, first_seed=first, courses=seed - first)


@pytest.mark.promise("P1", "P2", "P5", "P6", "P7", "P8", "P12", "P21")
@pytest.mark.parametrize("half", [0, 1])
def test_every_promise_holds_in_every_storm(prepared: Prepared, half: int):
    first = FIRST_SEED + half * 1_000_000
    for seed, history in courses(scenarios.storm, prepared, first):
        broken = find_violations(history)
        assert not broken, f"AGENTVINE_SIM_SEED={seed}\n" + "\n".join(map(str, broken))


@pytest.mark.promise("P2")
@pytest.mark.parametrize("scenario", [scenarios.lost_answers, scenarios.doubled_requests])
def test_no_order_waits_for_its_lease_to_end_because_of_the_network(
    prepared: Prepared, scenario: Scenario
):
    for seed, history in courses(scenario, prepared, FIRST_SEED):
        lost = [fact.to_json() for fact in history if fact.kind is Kind.GIVEN_BACK]
        assert not lost, f"AGENTVINE_SIM_SEED={seed}: {lost}"
        assert not find_violations(history), f"AGENTVINE_SIM_SEED={seed}"
        assert {fact.fence for fact in history if fact.kind is Kind.GRANTED} == {1}


@pytest.mark.promise("P3")
def test_what_a_dead_worker_held_runs_again_within_its_lease_and_5_seconds(prepared: Prepared):
    # The server of simulations looks more seldom than a real one: that much later it may notice.
    seldom = 1.2 * (QUEUE.poll_interval_seconds - QueueSettings().poll_interval_seconds)
    longest = 0.0
    for seed, history in courses(scenarios.dead_worker, prepared, FIRST_SEED):
        assert not find_violations(history), f"AGENTVINE_SIM_SEED={seed}"
        for seconds in waits_of_orders(history):
            longest = max(longest, seconds)
            assert seconds <= LEASE_SECONDS + 5 + seldom, f"AGENTVINE_SIM_SEED={seed}: {seconds}"
    report("a dead worker's orders run again", lease_seconds=LEASE_SECONDS, longest=longest)
    assert longest > 0


@pytest.mark.promise("P3")
def test_what_a_worker_held_that_is_back_at_once_runs_again_within_2_seconds(prepared: Prepared):
    longest = 0.0
    for seed, history in courses(scenarios.returning_worker, prepared, FIRST_SEED):
        assert not find_violations(history), f"AGENTVINE_SIM_SEED={seed}"
        for seconds in waits_of_orders(history):
            longest = max(longest, seconds)
            assert seconds <= 2, f"AGENTVINE_SIM_SEED={seed}: {seconds}"
    report("a returning worker's orders run again", longest=longest)
    assert longest > 0


@pytest.mark.promise("P13")
@pytest.mark.parametrize(
    ("scenario", "most"),
    [(scenarios.cancels, 1.0), (scenarios.cancels_told_by_beats, QUEUE.heartbeat_seconds + 2)],
)
def test_a_cancel_reaches_the_program_soon(prepared: Prepared, scenario: Scenario, most: float):
    longest = 0.0
    for seed, history in courses(scenario, prepared, FIRST_SEED):
        assert not find_violations(history), f"AGENTVINE_SIM_SEED={seed}"
        for seconds in waits_of_cancels(history):
            longest = max(longest, seconds)
            assert seconds <= most, f"AGENTVINE_SIM_SEED={seed}: {seconds}"
    report("cancels reach programs", scenario=scenario.__name__, most=most, longest=longest)
    assert longest > 0


def waits_of_orders(history: History) -> list[float]:
    """How long each order that was held when a worker was stopped waited to be granted again."""
    (stopped,) = [fact.at for fact in history if fact.kind is Kind.STOPPED]
    held: dict[str, float] = {}
    for fact in history:
        if fact.kind is Kind.GRANTED and fact.at <= stopped:
            held[fact.order] = stopped
        elif fact.kind in (Kind.SETTLED, Kind.GIVEN_BACK) and fact.at <= stopped:
            held.pop(fact.order, None)
    waits: list[float] = []
    for order in held:
        after = (fact for fact in history if fact.order == order and fact.at > stopped)
        # What it had reported may have been on its way still.
        told = next((fact for fact in after if fact.kind in (Kind.GRANTED, Kind.SETTLED)), None)
        if told is None or told.kind is Kind.GRANTED:
            waits.append(told.at - stopped if told else float("inf"))
    return waits


def waits_of_cancels(history: History) -> list[float]:
    """How long each program went on after its task was cancelled."""
    running: set[str] = set()
    cancelled: dict[str, float] = {}
    waits: list[float] = []
    for fact in history:
        if fact.kind is Kind.PROGRAM_STARTED:
            assert fact.order not in cancelled, "it was begun after it was cancelled"
            running.add(fact.order)
        elif fact.kind is Kind.PROGRAM_ENDED:
            running.discard(fact.order)
            if fact.order in cancelled:
                waits.append(fact.at - cancelled[fact.order])
        elif fact.more.get("what") == "cancelled" and fact.order in running:
            cancelled[fact.order] = fact.at
    return waits + [float("inf") for order in cancelled if order in running]


def test_the_same_seed_gives_the_same_history(prepared: Prepared):
    for seed in range(FIRST_SEED, FIRST_SEED + 2):
        first, second = (simulate(seed, prepared, scenarios.storm) for _ in range(2))
        assert first.canonical() == second.canonical()
        assert len(first) > 20


def test_different_seeds_give_different_histories(prepared: Prepared):
    told = {simulate(seed, prepared, scenarios.storm).canonical() for seed in range(2)}
    assert len(told) == 2

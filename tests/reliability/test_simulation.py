"""Many courses of things in simulated time, each with all its faults drawn from one seed.

CI runs the same seeds every time, as many as fit into the seconds it has. ``just chaos`` begins
with a seed drawn by lot and takes longer. ``AGENTVINE_SIM_SEED`` repeats one.
"""

import os
import time
from collections.abc import Iterator

import pytest

from tests.reliability.simulator import scenarios
from tests.reliability.simulator.ground import Prepared
from tests.reliability.simulator.world import Scenario, simulate
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


def test_the_same_seed_gives_the_same_history(prepared: Prepared):
    for seed in range(FIRST_SEED, FIRST_SEED + 2):
        first, second = (simulate(seed, prepared, scenarios.storm) for _ in range(2))
        assert first.canonical() == second.canonical()
        assert len(first) > 20


def test_different_seeds_give_different_histories(prepared: Prepared):
    told = {simulate(seed, prepared, scenarios.storm).canonical() for seed in range(2)}
    assert len(told) == 2

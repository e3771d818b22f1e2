"""A work tree of ten thousand files is made about as fast as git itself makes one."""

import resource
import tempfile
from pathlib import Path

import pytest

from benchmarks.worktrees.__main__ import MEMORY, Ground, measure, table, verdict


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_work_tree_takes_at_most_twice_as_long_as_plain_git():
    # In memory: a disk that others keep busy would measure them.
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        ground = Ground(Path(folder), 10_000)
        await ground.make()
        best: dict[str, float] = {}
        for _ in range(10):
            for name, seconds in (await measure(ground, 1)).items():
                best[name] = min([*seconds, best.get(name, seconds[0])])
            if best["AgentVine, with a fetch"] <= 2 * best["git worktree add"]:
                break
    assert best["AgentVine, with a fetch"] <= 2 * best["git worktree add"]
    assert best["AgentVine: take it away"] < best["remove its files"]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_work_tree_of_ten_thousand_files_costs_less_than_a_second_of_a_core():
    # By the clock a machine that others keep busy proves nothing; the benchmark tells that.
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        ground = Ground(Path(folder), 10_000)
        await ground.make()
        costs: list[float] = []
        while len(costs) < 10 and min(costs, default=1.0) >= 1.0:
            before = cpu_seconds()
            await ground.fetched()
            costs.append(cpu_seconds() - before)
    assert min(costs) < 1.0


def cpu_seconds() -> float:
    """What this process and its finished children have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def test_whether_it_takes_less_than_a_second_is_said():
    said = verdict({"AgentVine, with a fetch": [1.2, 0.43]}, 10_000)
    assert said == "A work tree of 10,000 files, as for a run: 0.43 s, under a second.\n"


def test_the_table_compares_the_best_ones():
    shown = table({"git worktree add": [0.2, 0.1], "AgentVine": [0.15, 0.3]})
    assert "| AgentVine | 150 | 225 | 1.50 |" in shown

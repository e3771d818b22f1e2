"""The benchmarks run, in their shortest form; what they measure here says nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_benchmark_of_our_own_queue_runs_and_writes_its_table(tmp_path: Path):
    table = tmp_path / "table.md"
    command = [sys.executable, "-m", "benchmarks.queue", "--only", "ours", "--scale", "0.02"]
    done = subprocess.run(
        [*command, "--out", table], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    rows = [
        line.split("|")
        for line in table.read_text().splitlines()
        if "AgentVine" in line or "the floor" in line
    ]
    assert len(rows) == 7 + 10
    for row in rows:
        jobs_a_second, cpu_a_job = (float(row[column].replace(",", "")) for column in (2, 4))
        assert jobs_a_second > 0
        assert cpu_a_job > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_benchmark_of_the_fleet_runs_and_writes_its_table(tmp_path: Path):
    table = tmp_path / "table.md"
    command = [sys.executable, "-m", "benchmarks.fleet", "lines", "history"]
    done = subprocess.run(
        [*command, "--scale", "0.01", "--out", table],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert len(table.read_text().splitlines()) == 2 + 1 + 2

"""The benchmark of recovery runs: what it says of killed workers holds on any machine."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 10


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_benchmark_of_recovery_sees_a_killed_workers_job_run_again_after_its_lease(
    tmp_path: Path,
):
    table = tmp_path / "table.md"
    command = [sys.executable, "-m", "benchmarks.recovery", "ours", "--patience", "60"]
    done = subprocess.run(
        [*command, "--out", table], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    (row,) = [line.split("|") for line in table.read_text().splitlines() if "AgentVine" in line]
    seconds = float(row[2].removesuffix(" s "))
    # The last beat before the kill may be a quarter of a lease old.
    assert seconds > LEASE_SECONDS * 0.7

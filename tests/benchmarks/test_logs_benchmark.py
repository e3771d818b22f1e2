"""The benchmark of log lines runs, in its shortest form; what it measures here says nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_benchmark_of_log_lines_runs_and_writes_its_table(tmp_path: Path):
    table = tmp_path / "table.md"
    command = [sys.executable, "-m", "benchmarks.logs", "--batches", "1", "--lines", "20"]
    done = subprocess.run(
        [*command, "--out", table], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    rows = [line for line in table.read_text().splitlines() if line.endswith("% |")]
    assert len(rows) == 3

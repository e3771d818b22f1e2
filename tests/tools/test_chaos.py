"""The report of the long forms."""

import json
from pathlib import Path

from tools.chaos import write_report


def test_a_report_tells_seed_outcome_and_figures_to_machines_and_people(tmp_path: Path):
    measured = [{"what": "storm", "database": "sqlite", "claims": 12}]
    write_report(tmp_path, 7, 1, list(measured))
    report = json.loads((tmp_path / "chaos-report.json").read_text())
    assert report == {"seed": 7, "exit_code": 1, "measured": measured}
    text = (tmp_path / "chaos-report.md").read_text()
    assert "seed 7" in text
    assert "**Something failed.**" in text
    assert "| storm | database: sqlite, claims: 12 |" in text
    write_report(tmp_path, 8, 0, [])
    assert "All passed." in (tmp_path / "chaos-report.md").read_text()

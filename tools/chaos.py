"""The long forms of the tests that kill things, with one seed, and a report of what was measured.

``python -m tools.chaos [--minutes M] [--seed N] [--report FOLDER] [pytest's arguments]``

The storm takes so many minutes on each database, and the other tests are sized by them. Give
``tests/chaos/test_storm.py`` for the storm alone, and ``--db sqlite`` for one database.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

_FOLDERS = ("tests/chaos", "tests/reliability")
# Settings of the long forms, each for one minute of storm.
_A_MINUTE = {
    "AGENTVINE_STORM_SECONDS": 60,
    "AGENTVINE_CHAOS_ROUNDS": 10,
    "AGENTVINE_OUTAGES": 6,
    "AGENTVINE_SOAK_REQUESTS": 1000,
    "AGENTVINE_SIM_SECONDS": 30,
    "AGENTVINE_MODEL_EXAMPLES": 10,
    "AGENTVINE_INTERLEAVINGS": 30,
}


def main(arguments: list[str]) -> int:
    """Run, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, prog="just chaos")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 10**6))
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--report", type=Path, default=Path(), help="folder of chaos-report.*")
    given, more = parser.parse_known_args(arguments)
    print(f"seed {given.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes.jsonl"
        environment = {**os.environ, "AGENTVINE_CHAOS_REPORT": str(notes)}
        environment |= {
            name: str(max(1, round(size * given.minutes))) for name, size in _A_MINUTE.items()
        }
        seeds = dict.fromkeys(("AGENTVINE_CHAOS_SEED", "AGENTVINE_SIM_SEED"), str(given.seed))
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-n",
            "1",
            "-m",
            "slow or chaos",
            *(more if _names_tests(more) else (*more, *_FOLDERS)),
        ]
        # Tools may start programs; what ends with us needs no supervision.
        code = subprocess.run(command, env=environment | seeds, check=False).returncode
        lines = notes.read_text().splitlines() if notes.exists() else []
    given.report.mkdir(parents=True, exist_ok=True)
    write_report(given.report, given.seed, code, [json.loads(line) for line in lines])
    return code


def _names_tests(arguments: list[str]) -> bool:
    return any(each.partition("::")[0].startswith("tests") for each in arguments)


def write_report(folder: Path, seed: int, code: int, measured: list[dict[str, object]]) -> None:
    """The same figures for machines and for people."""
    report = {"seed": seed, "exit_code": code, "measured": measured}
    (folder / "chaos-report.json").write_text(json.dumps(report, indent=2) + "\n")
    lines = [
        f"# Chaos, seed {seed}",
        "",
        "All passed." if code == 0 else "**Something failed.**",
        "",
    ]
    lines += ["| What | Figures |", "| --- | --- |"]
    for entry in measured:
        figures = ", ".join(f"{name}: {value}" for name, value in entry.items() if name != "what")
        lines.append(f"| {entry['what']} | {figures} |")
    (folder / "chaos-report.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

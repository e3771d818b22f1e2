"""The commands that people type exist, explain themselves, and are the ones CI runs."""

import json
import os
import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CI = ROOT / ".ci" / "run"
PROMISED = "setup dev test test-all lint types arch migration openapi docs chaos lock check"


def recipes() -> dict[str, Any]:
    just = Path(sysconfig.get_path("scripts")) / "just"
    result = subprocess.run(
        [just, "--dump", "--dump-format", "json"], cwd=ROOT, capture_output=True, check=True
    )
    return json.loads(result.stdout)["recipes"]


def test_every_recipe_is_there_and_has_a_help_line():
    found = recipes()

    assert set(PROMISED.split()) <= found.keys()
    assert [name for name, recipe in found.items() if not recipe["doc"]] == []


def test_check_is_what_ci_runs():
    [line] = recipes()["check"]["body"]

    assert "".join(map(str, line)).startswith(".ci/run")


def test_ci_runs_every_check_with_the_commands_that_people_type():
    script = CI.read_text()

    assert os.access(CI, os.X_OK)
    for command in (
        "pytest",
        "ruff check",
        "ruff format --check",
        "basedpyright",
        "lint-imports",
        "python -m tools.lint",
    ):
        assert re.search(rf"^check .*\buv run {re.escape(command)}", script, re.MULTILINE), command


def test_ci_is_sound_bash():
    assert subprocess.run(["bash", "-n", str(CI)], check=False).returncode == 0


def test_ci_runs_all_checks_and_fails_when_one_fails(tmp_path: Path):
    """With a uv that only records what it is asked, and fails for ruff's format."""
    asked = tmp_path / "asked"
    fake = tmp_path / "uv"
    fake.write_text(f'#!/bin/sh\necho "$*" >> "{asked}"\ncase "$*" in *format*) exit 3;; esac\n')
    fake.chmod(0o755)

    result = subprocess.run(
        [str(CI)],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert result.returncode == 1
    quick, slow, clis = asked.read_text().splitlines()[-3:]
    assert quick == "run pytest"
    assert re.fullmatch(r"run pytest -m slow or chaos --begin-within \d+", slow)
    assert clis == "run pytest -m clis"
    assert len(asked.read_text().splitlines()) == 8
    assert re.search(r"^failed .*format", result.stdout, re.MULTILINE)
    assert re.search(r"^passed .*pytest", result.stdout, re.MULTILINE)

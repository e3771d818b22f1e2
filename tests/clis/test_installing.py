"""That the programs are there at their versions, and that who lacks something is told what."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.clis.installing import CLIS, FOLDER

_ASK = """
from tests.clis.installing import NotInstalled, install
try:
    install("gemini")
except NotInstalled as error:
    print(error)
"""


@pytest.mark.parametrize("name", list(CLIS))
def test_each_program_is_there_at_its_version(name: str, cli):
    cli = cli(name)

    told = subprocess.run(
        [cli.program, "--version"], env=cli.environment, capture_output=True, text=True, check=True
    )

    assert CLIS[name].version in told.stdout + told.stderr


def test_where_the_registry_is_missing_the_tests_say_what_they_need(tmp_path: Path):
    said = subprocess.run(
        [sys.executable, "-c", _ASK],
        cwd=Path(__file__).parents[2],
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            FOLDER: str(tmp_path / "clis"),
            "npm_config_registry": "http://127.0.0.1:1/",
            "npm_config_fetch_retries": "0",
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert "@google/gemini-cli@0.61.0 could not be installed" in said
    assert FOLDER in said
    assert not list((tmp_path / "clis").glob("*/node_modules/.bin/gemini"))

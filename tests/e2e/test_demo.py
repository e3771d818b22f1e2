"""`agentvine demo`: the whole job, on an empty machine, in under a minute."""

import json
import shlex
import signal
import time
from pathlib import Path

import pytest

from tests.support.cli import Sandbox, stop
from tests.support.repositories import Repo


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the demo makes its folder, to see what it leaves."""
    path = tmp_path / "tmp"
    path.mkdir()
    return path


def test_the_demo_ends_well_in_time_and_leaves_nothing(sandbox: Sandbox, temporary: Path):
    sandbox.more["TMPDIR"] = str(temporary)
    began = time.monotonic()

    done = sandbox.run("demo")

    assert done.exit_code == 0, done
    assert time.monotonic() - began < 60
    assert done.out.count(": applied") == 3
    assert done.out.count("tests   passed in") == 3
    assert "and approve it" in done.out
    assert "nothing is left running" in done.out
    assert sandbox.processes() == []
    assert list(temporary.iterdir()) == []
    assert not sandbox.data_dir.exists(), "the user's own data is not touched"


def test_what_the_demo_keeps_can_be_opened_as_it_says(sandbox: Sandbox, temporary: Path):
    sandbox.more["TMPDIR"] = str(temporary)

    done = sandbox.run("demo", "--keep", "--json")

    assert done.exit_code == 0, done
    told = done.json
    assert told["is_good"]
    assert [each["outcome"] for each in told["tasks"]] == ["applied"] * 3
    assert sandbox.processes() == []
    kept = Path(told["kept_in"])
    [folder] = temporary.iterdir()
    assert kept == folder
    assert Repo(kept / "click").git("log", "--oneline", "--first-parent", "main").count("\n") == 3

    words = shlex.split(told["open_with"])
    name, _, value = words[0].partition("=")
    assert (name, words[1:]) == ("AGENTVINE_DATA_DIR", ["agentvine", "up"])
    sandbox.more[name] = value
    process = sandbox.start(*words[2:], "--port", "0", "--workers", "0", "--json")
    try:
        assert process.stdout is not None
        assert "url" in json.loads(process.stdout.readline())
        tasks = sandbox.run("task", "list", "--json").json
        assert {task["status"] for task in tasks} == {"completed"}
        assert len(tasks) == 3
    finally:
        stop(process, signal.SIGINT)

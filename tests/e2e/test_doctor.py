"""`agentvine doctor` after everything was killed: it names what is left, and clears it up."""

import os
import re
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.cli import Sandbox, wait_until
from tests.support.repositories import Repo


def bad_findings(sandbox: Sandbox, *more: str) -> dict[str, str]:
    done = sandbox.run("doctor", "--json", *more)
    found = {each["name"]: each["detail"] for each in done.json["findings"] if not each["is_good"]}
    assert done.exit_code == (1 if found else 0), done
    return found


def test_what_a_killed_team_left_is_named_ended_and_kept(
    sandbox: Sandbox, repo: Repo, tmp_path: Path
):
    begun = tmp_path / "begun"
    program = ["sleep", f"4{os.getpid():07}"]  # no other test's
    with sandbox.up("--workers", "1") as process:
        sandbox.run(
            *("run", "Long", "--repo", str(repo.path), "--no-wait", "--command"),
            f"echo work > work.txt; touch {begun}; exec {' '.join(program)}",
        )
        wait_until(begun.exists, "the command to run", seconds=90)
        # First the workers, which would end their programs, then who would start others.
        psutil.Process(process.pid).suspend()
        for worker in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # one of its short commands
                if "worker" in worker.cmdline():
                    worker.kill()
        process.kill()
        process.wait()

    found = bad_findings(sandbox)
    assert "--fix ends them" in found["programs"]
    assert "reported when their worker starts again" in found["broken off"]

    done = sandbox.run("doctor", "--fix")
    # Where the machine allows it, the program has died with its worker meanwhile.
    assert re.search(r"ended [01] programs? of", done.out), done
    assert re.search(r"disk trees +[\d.]+ \w+ in 1: [0-9a-f-]{36} [\d.]+ \w+, ", done.out), done
    wait_until(lambda: sandbox.processes() == [], "the program's end", seconds=60)
    assert set(bad_findings(sandbox)) == {"broken off"}, "that is for the worker to report"

    with sandbox.up("--workers", "1"):
        wait_until(lambda: bad_findings(sandbox) == {}, "the worker to clear up", seconds=120)
    commands = [each.info["cmdline"] for each in psutil.process_iter(["cmdline"])]
    assert program not in commands


def test_a_machine_where_nothing_ever_ran_is_well(sandbox: Sandbox):
    done = sandbox.run("doctor")

    assert done.exit_code == 0, done
    assert "`agentvine up` starts one" in done.out, "what to do next"
    assert not sandbox.data_dir.exists(), "looking changes nothing"


def test_a_database_that_is_gone_from_a_used_machine_is_named(sandbox: Sandbox):
    (sandbox.data_dir / "mirrors").mkdir(parents=True)

    assert "There is no database" in bad_findings(sandbox)["database"]

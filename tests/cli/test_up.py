"""``agentvine up``: one command starts everything, and ends everything."""

import json
import os
import signal
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.cli import Sandbox, stop, wait_until
from tests.support.repositories import Repo, make_repo

pytestmark = pytest.mark.slow  # a server and its workers for each


def workers_of(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if is_worker(child)]


def is_worker(process: psutil.Process) -> bool:
    try:
        return "worker" in process.cmdline()
    except psutil.Error:  # it has just ended, and perhaps nobody has waited for it yet
        return False


def create(sandbox: Sandbox, repo: Repo, command: str, *more: str) -> Any:
    if not sandbox.run("repo", "list", "--json").json:
        sandbox.run("repo", "register", str(repo.path))
    return sandbox.run(
        *("task", "create", "A job", "--repo", str(repo.path), "--command", command),
        *("--permission", "autonomous", "--json", *more),
    ).json


def status_of(sandbox: Sandbox, task: Any) -> str:
    return sandbox.run("task", "show", task["id"], "--json").json["status"]


def test_up_tells_where_it_serves_and_shows_the_first_login_once(sandbox: Sandbox):
    first = sandbox.start("up", "--port", "0", "--json", "--workers", "1")
    assert first.stdout is not None
    told = json.loads(first.stdout.readline())
    file = sandbox.data_dir / "server.json"

    assert told["first_login"]["username"] == "admin"
    assert json.loads(file.read_text())["url"] == told["url"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sandbox.run("whoami", "--json").json["found_by"] == "local"
    old_token = json.loads(file.read_text())["token"]

    assert stop(first) == 0
    assert not file.exists()
    assert sandbox.processes() == []

    with sandbox.up("--workers", "0"):
        url = json.loads(file.read_text())["url"]
        refused = sandbox.run("whoami", "--server", url, "--token", old_token)
        assert refused.exit_code == 3, "the token of an earlier start is of no use"
        signed_in = sandbox.run(
            "login", url, "-u", "admin", stdin=f"{told['first_login']['password']}\n"
        )
        assert signed_in.exit_code == 0, signed_in
    assert "first_login" in told
    assert "password" not in (sandbox.folder / "stderr.txt").read_text()


def test_people_are_told_the_address_and_the_login(sandbox: Sandbox):
    process = sandbox.start("up", "--port", "0", "--workers", "0")
    assert process.stdout is not None
    told = [process.stdout.readline() for _ in range(5)]
    stop(process, signal.SIGINT)

    assert "serves http://127.0.0.1:" in told[0]
    assert str(sandbox.data_dir) in told[1]
    assert "user admin, password" in told[2]
    assert "agentvine run" in told[4]


def test_a_second_up_on_the_same_data_is_refused(sandbox: Sandbox):
    with sandbox.up("--workers", "0") as process:
        refused = sandbox.run("up", "--port", "0", "--json")

        assert refused.exit_code == 5
        assert refused.problem["code"] == "server_runs_here"
        assert str(process.pid) in refused.problem["detail"]
        alone = sandbox.run("server", "--port", "0", "--json")
        assert alone.exit_code == 5, "nor may a server alone use the same file"
        assert sandbox.run("whoami").exit_code == 0


def test_a_taken_port_is_told(sandbox: Sandbox):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = sandbox.run("up", "--port", str(port))

    assert done.exit_code == 7
    assert f"127.0.0.1:{port}" in done.err


def test_a_worker_that_is_killed_comes_back_and_works(sandbox: Sandbox, tmp_path: Path):
    repo = make_repo(tmp_path / "repo")
    with sandbox.up("--workers", "1") as process:
        [worker] = wait_until(lambda: workers_of(process), "the worker")
        name = worker.cmdline()[worker.cmdline().index("--name") + 1]
        worker.kill()

        [again] = wait_until(
            lambda: [each for each in workers_of(process) if each.pid != worker.pid],
            "another worker",
        )
        assert name in again.cmdline(), "it takes up what its predecessor left"
        task = create(sandbox, repo, "echo done > done.txt")
        wait_until(lambda: status_of(sandbox, task) == "completed", "the task's end")
    assert (repo.path / "done.txt").exists()


def test_nothing_outlives_an_up_that_is_killed(sandbox: Sandbox, tmp_path: Path):
    repo, flag = make_repo(tmp_path / "repo"), tmp_path / "runs"
    program = ["sleep", f"3{os.getpid():07}"]  # no other test's
    with sandbox.up("--workers", "2") as process:
        create(sandbox, repo, f"touch {flag}; exec {' '.join(program)}")
        wait_until(flag.exists, "the command to run")
        process.kill()

        wait_until(lambda: sandbox.processes() == [], "everything to end", seconds=40)
    commands = [each.info["cmdline"] for each in psutil.process_iter(["cmdline"])]
    assert program not in commands


def test_a_run_under_way_is_finished_before_it_stops(sandbox: Sandbox, tmp_path: Path):
    repo, flag, go_on = make_repo(tmp_path / "repo"), tmp_path / "runs", tmp_path / "go"
    os.mkfifo(go_on)
    process = sandbox.start("up", "--port", "0", "--json", "--workers", "1", "--drain", "30")
    assert process.stdout is not None
    process.stdout.readline()
    task = create(sandbox, repo, f"touch {flag}; read word < {go_on}; echo $word > a.txt")
    wait_until(flag.exists, "the command to run")

    process.send_signal(signal.SIGTERM)
    wait_until(
        lambda: "worker.draining" in (sandbox.folder / "stderr.txt").read_text(), "the worker"
    )
    go_on.write_text("finished\n")
    assert process.wait(timeout=30) == 0
    process.stdout.close()

    with sandbox.up("--workers", "0"):
        wait_until(lambda: status_of(sandbox, task) == "completed", "the change to be applied")
    assert (repo.path / "a.txt").read_text() == "finished\n"


def test_a_second_signal_does_not_wait_for_the_workers(sandbox: Sandbox, tmp_path: Path):
    repo, flag = make_repo(tmp_path / "repo"), tmp_path / "runs"
    process = sandbox.start("up", "--port", "0", "--json", "--workers", "1", "--drain", "300")
    assert process.stdout is not None
    process.stdout.readline()
    create(sandbox, repo, f"touch {flag}; exec sleep 300")
    wait_until(flag.exists, "the command to run")

    process.send_signal(signal.SIGINT)
    wait_until(
        lambda: "worker.draining" in (sandbox.folder / "stderr.txt").read_text(), "the worker"
    )
    assert stop(process, signal.SIGINT) == 0
    assert sandbox.processes() == []


def test_a_lost_password_is_replaced_by_who_runs_the_server(sandbox: Sandbox):
    with sandbox.up("--workers", "0"):
        made = sandbox.run("server", "reset-password", "admin", "--json").json
        url = json.loads((sandbox.data_dir / "server.json").read_text())["url"]

        done = sandbox.run("login", url, "-u", "admin", stdin=f"{made['password']}\n")
        assert done.exit_code == 0, done
        assert sandbox.run("server", "reset-password", "nobody").exit_code == 4


@pytest.mark.parametrize("command", ["up", "server", "worker"])
def test_who_was_started_by_a_process_ends_with_it(sandbox: Sandbox, command: str):
    """With a parent that is not theirs: as if theirs had died before they looked."""
    more = [] if command == "worker" else ["--port", "0"]
    environment = {"AGENTVINE_SERVER_URL": "http://127.0.0.1:9", "AGENTVINE_TOKEN": "avw_x_y"}
    sandbox.more |= environment if command == "worker" else {}

    done = sandbox.run(command, *more, "--parent", "1")

    # It may notice before anything is there that could be stopped in good order.
    assert done.exit_code in (0, 128 + signal.SIGTERM, -signal.SIGTERM), done

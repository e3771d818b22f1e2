"""Every error is one line and an exit code, and for machines a problem document."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentvine.cli.failures import exit_code_of
from agentvine.kit.errors import (
    AppError,
    Conflict,
    Forbidden,
    Internal,
    Invalid,
    LimitReached,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from tests.cli.conftest import Cli
from tests.support.cli import Sandbox, stop, wait_until


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Invalid, 2),
        (Unauthenticated, 3),
        (Forbidden, 3),
        (NotFound, 4),
        (Conflict, 5),
        (LimitReached, 6),
        (Unavailable, 7),
        (Internal, 70),
        (AppError, 70),
    ],
)
def test_each_category_has_its_exit_code(error: type[AppError], code: int):
    assert exit_code_of(error("x")) == code


def test_a_subclass_has_the_code_of_its_category():
    class TaskAlreadyFinished(Conflict):
        """This task is finished."""

    assert exit_code_of(TaskAlreadyFinished("x")) == 5


def test_an_error_is_one_line_with_title_and_detail(alone: Cli):
    done = alone("task", "list")

    assert done.exit_code == 7
    assert done.out == ""
    assert done.err.startswith("No server is known: Start one with `agentvine up`")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [("--json", "task", "list"), ("task", "list", "--json")])
def test_with_json_an_error_is_a_problem_document(alone: Cli, arguments: tuple[str, ...]):
    done = alone(*arguments)

    assert done.exit_code == 7
    assert done.out == ""
    assert done.problem["code"] == "no_server"
    assert done.problem["type"] == "urn:agentvine:error:no_server"
    assert done.problem["exit_code"] == 7


def test_what_the_server_refuses_keeps_its_code_and_facts(cli: Cli):
    done = cli("task", "show", "01a20c12-3edd-77f1-87b0-000000000000", "--json")

    assert done.exit_code == 4
    assert done.problem["code"] == "task_not_found"
    assert done.problem["status"] == 404


@pytest.mark.parametrize(
    "arguments",
    [
        ("task", "list", "--status", "nowhere"),
        ("task", "list", "--limit", "0"),
        ("task", "show"),
        ("task", "list", "--no-such-option"),
        ("no-such-command",),
        ("worker", "--capability", "python:wizard"),
        ("order", "show", "not-an-id"),
    ],
)
def test_a_wrong_command_line_exits_with_2(alone: Cli, arguments: tuple[str, ...]):
    assert alone(*arguments).exit_code == 2

    done = alone(*arguments, "--json")
    assert done.exit_code == 2
    assert done.problem["code"] == "usage"


def test_a_server_that_does_not_answer_is_told_with_what_to_do(alone: Cli):
    done = alone("whoami", "--server", "http://127.0.0.1:9", "--token", "x")

    assert done.exit_code == 7
    assert "agentvine up" in done.err


def test_a_token_that_is_not_right_exits_with_3(cli: Cli):
    assert cli("whoami", "--token", "avu_wrong_token").exit_code == 3


def test_wrong_settings_are_all_told_at_once(sandbox: Sandbox):
    sandbox.more |= {"AGENTVINE_LOG_LEVEL": "loud", "AGENTVINE_QUEUE__LEASE_SECONDS": "-1"}

    done = sandbox.run("whoami")

    assert done.exit_code == 2
    assert "AGENTVINE_LOG_LEVEL" in done.err
    assert "AGENTVINE_QUEUE__LEASE_SECONDS" in done.err


def test_a_bug_has_an_id_and_exits_with_70(sandbox: Sandbox):
    program = (
        "import sys; from agentvine.cli.parts import Parts\n"
        "from agentvine.cli.failures import run\n"
        "sys.exit(run(['doctor', *sys.argv[1:]], Parts(find_leftovers='json:no_such_name')))"
    )

    for more in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *more],
            env=sandbox.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 70
        assert "A bug in AgentVine" in done.stderr
        assert "Traceback" in done.stderr
        assert "(id " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("signum", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_it_quietly_while_it_reads_its_input(
    sandbox: Sandbox, signum: signal.Signals, exit_code: int
):
    command = ["task", "create", "x", "--description", "-"]
    with subprocess.Popen(
        [sys.executable, "-m", "agentvine", "--server", "http://127.0.0.1:9", *command],
        env=sandbox.environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        # It waits for its input; only then is it in our code and not still starting.
        wait_until(lambda: _waits_for_input(process.pid), "the command to read its input")
        process.send_signal(signum)
        # Its input stays open: nothing but the signal ends the wait.
        assert process.wait(timeout=20) == exit_code
        assert process.stderr.read().strip() == b""


def _waits_for_input(pid: int) -> bool:
    return "pipe" in Path(f"/proc/{pid}/wchan").read_text() or b"read" in _syscall(pid)


def _syscall(pid: int) -> bytes:
    # System call number 0 is read, on descriptor 0.
    try:
        words = Path(f"/proc/{pid}/syscall").read_text().split()
    except OSError:
        return b""
    return b"read" if words[:2] == ["0", "0x0"] else b""


def test_a_reader_that_went_away_ends_it_quietly(sandbox: Sandbox):
    with subprocess.Popen(
        [sys.executable, "-m", "agentvine", "openapi"],
        env=sandbox.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        err = process.stderr.read()

    assert process.returncode == 141
    assert err.strip() == b""


def test_openapi_needs_no_server(alone: Cli):
    document = json.loads(alone.ok("openapi").out)

    assert "/api/v1/tasks" in document["paths"]


def test_sigterm_ends_a_command_with_what_it_started(sandbox: Sandbox):
    process = sandbox.start("demo")
    wait_until(lambda: len(sandbox.processes()) > 1, "the demo to start its server")

    assert stop(process) == 143
    assert sandbox.processes() == []

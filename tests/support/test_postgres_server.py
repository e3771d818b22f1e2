"""The PostgreSQL of the tests: starts for everybody, and leaves nothing behind."""

import multiprocessing
import os
import pwd
import signal
import subprocess
import sys
import time
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support import postgres
from tests.support.postgres import NoPostgres, PostgresServer, Programs, find_programs

_ROOT = Path(__file__).parents[2]
_START = dedent("""
    import sys
    from tests.support.postgres import start_postgres
    server = start_postgres()
    server.create_database("proof")
    print(server.url("proof"), flush=True)
    sys.stdin.read()
""")


def test_a_database_is_copied_from_a_template_and_dropped_with_its_guests(
    postgres_server: PostgresServer,
):
    postgres_server.create_database("av_proof_one")
    postgres_server.create_database("av_proof_two", template="av_proof_one")
    postgres_server.drop_database("av_proof_one")
    postgres_server.drop_database("av_proof_two")
    postgres_server.drop_database("av_proof_two")


@pytest.mark.parametrize("how", ["its end", "SIGTERM", "SIGKILL"])
def test_nothing_is_left_when_the_process_of_the_tests_ends(how: str):
    process = subprocess.Popen(
        [sys.executable, "-c", _START],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    folder = Path(url.partition("?host=")[2]).parent
    assert folder.is_dir()
    if how == "its end":
        process.stdin.close()
        assert process.wait(20) == 0
    else:
        process.send_signal(getattr(signal, how))
        process.wait(20)
        process.stdin.close()
    process.stdout.close()
    assert _is_gone(folder)


def test_an_ordinary_user_can_start_one(tmp_path: Path):
    """Root's tests give their rights up in a child first; anybody else's just run."""
    if os.geteuid() != 0:
        _start_and_use(find_programs())
        return
    # Python itself may stand in a folder that only root can enter, so a fork, not a new program.
    found = find_programs()
    folder = Path("/tmp") / f"av-{tmp_path.name}-{os.getpid()}"
    folder.mkdir()
    programs = postgres.linked_programs(found.wheel, folder) if found.wheel else found
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads are not used in the child
        process = multiprocessing.get_context("fork").Process(
            target=_start_as_nobody, args=(programs, theirs)
        )
        process.start()
    theirs.close()
    try:
        assert ours.recv() == "started, used and stopped as nobody"
    finally:
        process.join(20)
        postgres.remove_folder(folder)
    assert process.exitcode == 0


def test_the_newest_installed_programs_stand_in_for_the_wheel(tmp_path: Path):
    for version in ("9.6", "15", "18"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "postgres").touch()
    found = find_programs("no_such_wheel", tmp_path)
    assert found == Programs(tmp_path / "18" / "bin")


def test_without_any_programs_it_is_said_where_to_get_them(tmp_path: Path):
    with pytest.raises(NoPostgres, match="AGENTVINE_TEST_PG_URL"):
        find_programs("no_such_wheel", tmp_path)


def _start_as_nobody(programs: Programs, answer: Connection) -> None:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    os.chdir("/")
    try:
        _start_and_use(programs)
    except BaseException as error:
        answer.send(repr(error))
        raise
    answer.send("started, used and stopped as nobody")


def _start_and_use(programs: Programs) -> None:
    server = postgres.start_programs(programs)
    try:
        server.create_database("proof")
    finally:
        server.stop()


def _is_gone(folder: Path) -> bool:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        if not folder.exists() and str(folder) not in shown.stdout:
            return True
        time.sleep(0.05)  # until the shell beside the server has noticed
    return False

"""One process per SQLite file; a lock never outlives its holder."""

import subprocess
import sys
from pathlib import Path

import pytest

from agentvine.db.errors import DatabaseInUse, DatabaseUnreachable
from agentvine.db.filelock import DatabaseFileLock

_HOLD = """
import sys
from pathlib import Path
from agentvine.db.filelock import DatabaseFileLock
lock = DatabaseFileLock(Path(sys.argv[1]), "server")
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "agentvine.db"


def _hold(database: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(database)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_holds_the_file(database: Path):
    with _hold(database) as process:
        with pytest.raises(DatabaseInUse, match=rf"in use by server \(process {process.pid}\)"):
            DatabaseFileLock(database, "server").acquire()
        process.kill()


def test_a_holder_that_is_killed_leaves_the_file_free(database: Path):
    with _hold(database) as process:
        process.kill()
        process.wait()
        with DatabaseFileLock(database, "server") as lock:
            assert lock.is_held


def test_one_object_may_acquire_and_release_twice(database: Path):
    lock = DatabaseFileLock(database, "migration")
    lock.acquire()
    lock.acquire()
    lock.release()
    lock.release()
    assert not lock.is_held


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseUnreachable, match="Cannot write"):
        DatabaseFileLock(tmp_path / "file" / "agentvine.db", "server").acquire()

"""``agentvine db ...`` from the command line, on both databases."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from agentvine.__main__ import PARTS
from agentvine.cli.failures import run
from agentvine.config.settings import DatabaseSettings
from agentvine.db.engine import sqlite_path
from agentvine.db.filelock import DatabaseFileLock
from tests.support.toy_migrations import query

pytestmark = pytest.mark.slow

Db = Callable[..., "Answer"]


class Answer:
    """What a command said, and its exit code."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def db(
    empty_database_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Db:
    """Runs ``agentvine db`` on a database that is not there yet, or is empty."""
    monkeypatch.setenv("AGENTVINE_DATABASE_URL", empty_database_settings.url)
    monkeypatch.setenv("AGENTVINE_DATA_DIR", str(tmp_path_factory.mktemp("data")))

    def call(*arguments: str) -> Answer:
        capsys.readouterr()
        code = run(["db", *arguments], PARTS)
        told = capsys.readouterr()
        return Answer(code, told.out, told.err)

    return call


def test_setup_makes_a_database_that_check_finds_whole(db: Db):
    assert db("check").code != 0
    made = db("setup", "--json")
    assert made.code == 0
    assert made.json["after"] == made.json["steps"][-1].removeprefix("upgrade ")
    whole = db("check")
    assert (whole.code, whole.err) == (0, "")
    assert "newest revision" in whole.out
    assert db("check", "--json").json["ok"] is True
    assert db("setup").code == 0


def test_current_and_history_tell_where_the_database_stands(db: Db):
    db("init")
    current = db("current", "--json").json
    assert current["is_at_head"] is True
    assert current["revision"] == current["head"]
    assert "(newest)" in db("current").out
    history = db("history", "--json").json
    assert history[0]["is_current"] is True
    assert history[-1]["after"] is None
    assert "(newest, current)" in db("history").out


def test_init_says_that_there_is_a_schema_already(db: Db):
    assert "Done: upgrade" in db("init").out
    again = db("init")
    assert again.code == 0
    assert "already" in again.out


def test_down_to_nothing_and_up_again(db: Db):
    db("setup")
    down = db("downgrade", "base", "--json").json
    assert down["after"] is None
    assert db("check").code == 1
    assert "agentvine db upgrade" in db("check").err
    assert db("upgrade", "head").code == 0
    assert db("downgrade", "-1").code == 0
    assert db("upgrade").code == 0
    assert db("check").code == 0


def test_stamp_writes_the_revision_down(db: Db):
    db("setup")
    assert "Done: stamp" in db("stamp", "base").out
    refused = db("upgrade")
    assert refused.code == 5
    assert "db stamp" in refused.err
    assert db("stamp", "head").code == 0
    assert db("check").code == 0


def test_an_unknown_revision_is_bad_input(db: Db):
    db("setup")
    for command in ("upgrade", "downgrade", "stamp"):
        refused = db(command, "no_such_revision")
        assert refused.code == 2
        assert "no_such_revision" in refused.err
        assert "db history" in refused.err


def test_an_error_is_one_json_document_on_request(db: Db):
    db("setup")
    refused = db("upgrade", "no_such_revision", "--json")
    assert json.loads(refused.err)["code"] == "unknown_revision"


@pytest.mark.parametrize(
    "url", ["postgresql://nobody@127.0.0.1:9/none", "sqlite:////no/such/folder/none.db"]
)
def test_a_database_that_cannot_be_reached_exits_with_7(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("AGENTVINE_DATABASE_URL", url)
    assert run(["db", "check"], PARTS) == 7
    assert capsys.readouterr().err
    assert run(["db", "check", "--json"], PARTS) == 7
    assert json.loads(capsys.readouterr().out)["problems"][0]["code"] == "database_unreachable"
    assert run(["db", "current"], PARTS) == 7


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch, capsys: Any):
    monkeypatch.setenv("AGENTVINE_DATABASE_URL", "postgresql://me:s3cr3t@127.0.0.1:9/none")
    for arguments in (["db", "check", "--json"], ["db", "setup"], ["db", "current"]):
        run(arguments, PARTS)
        told = capsys.readouterr()
        assert "s3cr3t" not in told.out + told.err


def test_a_trigger_dropped_by_hand_is_found_and_put_back(
    sqlite_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("AGENTVINE_DATABASE_URL", sqlite_settings.url)
    query(sqlite_path(sqlite_settings), "DROP TRIGGER trg_tasks_updated_at")
    assert run(["db", "check"], PARTS) == 1
    assert "trg_tasks_updated_at is missing" in capsys.readouterr().err
    assert run(["db", "upgrade"], PARTS) == 0
    assert "Repaired: trigger trg_tasks_updated_at" in capsys.readouterr().out
    assert run(["db", "check"], PARTS) == 0


def test_a_file_that_a_server_uses_is_not_migrated(
    sqlite_settings: DatabaseSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("AGENTVINE_DATABASE_URL", sqlite_settings.url)
    with DatabaseFileLock(sqlite_path(sqlite_settings), "server"):
        assert run(["db", "downgrade", "base"], PARTS) == 5
        assert "in use by server" in capsys.readouterr().err
        assert run(["db", "check"], PARTS) == 0, "looking is allowed"

import json
import uuid
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import BaseModel

from agentvine.cli.output import Column, Output, printable
from agentvine.kit.clock import ManualClock

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


class Thing(BaseModel):
    id: uuid.UUID = uuid.UUID(int=1)
    name: str
    made: datetime = NOW - timedelta(hours=2)
    note: str | None = None


COLUMNS = [
    Column[Thing]("name", lambda row: row.name),
    Column[Thing]("made", lambda row: row.made),
    Column[Thing]("note", lambda row: row.note),
]


def output(*, as_json: bool = False) -> Output:
    return Output(as_json=as_json, clock=ManualClock(NOW))


def test_a_table_is_aligned_text_where_nobody_draws(capsys: pytest.CaptureFixture[str]):
    output().table([Thing(name="a"), Thing(name="longer", note="x")], COLUMNS, nothing="none")

    assert capsys.readouterr().out.splitlines() == [
        "NAME    MADE    NOTE",
        "a       2h ago  -",
        "longer  2h ago  x",
    ]


def test_times_are_iso_for_machines(capsys: pytest.CaptureFixture[str]):
    output(as_json=True).table([Thing(name="a")], COLUMNS, nothing="none")

    [row] = json.loads(capsys.readouterr().out)
    assert row == {
        "id": "00000000-0000-0000-0000-000000000001",
        "name": "a",
        "made": "2026-11-24T10:00:00Z",
        "note": None,
    }


def test_an_empty_table_says_so_beside_the_result(capsys: pytest.CaptureFixture[str]):
    output().table([], COLUMNS, nothing="There are no things.")
    output(as_json=True).table([], COLUMNS, nothing="There are no things.")

    said = capsys.readouterr()
    assert said.err == "There are no things.\n"
    assert json.loads(said.out) == []


def test_a_record_leaves_out_what_is_not_there(capsys: pytest.CaptureFixture[str]):
    output().record(
        Thing(name="a"), [("name", "a"), ("note", None), ("tags", ["x", "y"]), ("old", False)]
    )

    assert capsys.readouterr().out.splitlines() == ["name  a", "tags  x, y", "old   no"]


def test_foreign_output_cannot_move_the_cursor():
    assert printable("\x1b[31mred\x1b[0m\a and\ttab\x1b[2J") == "red and\ttab"
    assert printable("größer → ok") == "größer → ok"

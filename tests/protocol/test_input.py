"""What every message from outside is held to: the same on both databases, whatever its fields."""

import math
from typing import Any, ClassVar

import pytest
from pydantic import Field, SecretStr, ValidationError

from agentvine.protocol.base import MAX_INTEGER, Edit, Input, Output, Verbatim


class Sample(Input):
    text: str = ""
    number: float = 0
    count: int = 0
    secret: SecretStr = SecretStr("")
    names: list[str] = Field(default_factory=list[str])
    facts: dict[str, Any] = Field(default_factory=dict[str, Any])


class Said(Verbatim):
    text: str = ""
    facts: dict[str, Any] = Field(default_factory=dict[str, Any])


class Change(Edit):
    may_be_emptied: ClassVar[frozenset[str]] = frozenset({"note"})

    name: str | None = None
    note: str | None = None


@pytest.mark.parametrize(
    "given",
    [
        {"text": "a\0b"},
        {"text": "\ud800"},
        {"number": math.nan},
        {"number": math.inf},
        {"count": MAX_INTEGER + 1},
        {"count": -MAX_INTEGER - 1},
        {"names": ["fine", "not\0"]},
        {"facts": {"a": {"b": ["\0"]}}},
        {"facts": {"\0": 1}},
        {"facts": {"a": [[-math.inf]]}},
        {"facts": {"a": 2**70}},
        {"unknown": 1},
    ],
)
def test_what_a_database_could_not_store_is_refused(given: dict[str, Any]):
    with pytest.raises(ValidationError):
        Sample(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"text": "é 😀 \u2028 z"},
        {"text": "\ufffd"},
        {"number": 1e308},
        {"count": MAX_INTEGER},
        {"facts": {"a": [None, True, {"b": -MAX_INTEGER}]}},
    ],
)
def test_what_both_store_is_taken_as_it_is(given: dict[str, Any]):
    assert Sample(**given).model_dump(exclude_unset=True) == given


def test_blanks_around_what_people_type_are_left_out_and_in_output_they_are_kept():
    assert Sample(text="  x \n").text == "x"
    assert Said(text="  x \n").text == "  x \n"


def test_output_of_programs_is_mended_rather_than_refused():
    said = Said(text="a\0b\ud83d", facts={"n\0": [math.nan, 2**70, "\ud83d\ude00"]})
    assert said.text == "a\ufffdb\ufffd"
    assert said.facts == {"n\ufffd": [None, None, "😀"]}


def test_an_edit_keeps_what_is_left_out_and_empties_only_what_may_be_empty():
    assert Change().model_dump(exclude_unset=True) == {}
    assert Change(note=None).model_dump(exclude_unset=True) == {"note": None}
    with pytest.raises(ValidationError, match="name cannot be null; leave it out to keep it"):
        Change(name=None, note=None)


def test_a_newer_servers_fields_are_passed_over():
    class Answer(Output):
        name: str

    assert Answer.model_validate({"name": "x", "of_later": 1}) == Answer(name="x")


def test_messages_cannot_be_changed_once_they_are_read():
    with pytest.raises(ValidationError, match="frozen"):
        Sample().text = "y"

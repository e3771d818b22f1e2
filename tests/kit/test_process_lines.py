import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.kit.process import LineSplitter


def split(*chunks: bytes, max_line_bytes: int = 16 * 1024) -> list[str]:
    splitter = LineSplitter(max_line_bytes)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + splitter.finish()


def test_lines_end_at_newline_with_or_without_carriage_return() -> None:
    assert split(b"one\ntwo\r\nthree\n") == ["one", "two", "three"]


def test_a_line_end_cut_in_two_is_one_line_end() -> None:
    assert split(b"one\r", b"\ntwo\n") == ["one", "two"]


def test_empty_lines_are_kept() -> None:
    assert split(b"\n\none\n\n") == ["", "", "one", ""]


def test_a_lone_carriage_return_stays_in_its_line() -> None:
    assert split(b"10%\r20%\r30%\n") == ["10%\r20%\r30%"]


def test_the_last_line_needs_no_end() -> None:
    assert split(b"one\ntwo") == ["one", "two"]


def test_no_output_is_no_line() -> None:
    assert split() == []
    assert split(b"") == []


def test_a_character_cut_in_two_is_put_together() -> None:
    euro = "€".encode()
    assert split(euro[:1], euro[1:2], euro[2:] + b"\n") == ["€"]


def test_binary_output_becomes_text_a_database_can_keep() -> None:
    noise = random.Random(7).randbytes(200_000) + b"\xed\xa0\x80\x00\xff"
    for line in split(noise):
        assert "\0" not in line
        assert len(line.encode()) <= 16 * 1024  # and encodes at all: no surrogates


def test_a_long_line_comes_in_parts_of_bounded_size() -> None:
    lines = split(b"x" * 40_000 + b"\nshort\n")
    assert [len(line) for line in lines] == [16_384, 16_384, 7_232, 5]


def test_a_line_of_exactly_the_limit_is_one_line() -> None:
    assert split(b"x" * 16_384 + b"\r", b"\ny\n") == ["x" * 16_384, "y"]


def test_the_end_of_a_line_given_out_in_parts_adds_no_empty_line() -> None:
    splitter = LineSplitter(4)
    assert splitter.feed(b"abcdefgh") == ["abcd"]
    assert splitter.flush() == ["efgh"]
    assert splitter.feed(b"\r\n\nz\n") == ["", "z"]


def test_flush_gives_out_a_prompt_that_waits_for_an_answer() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"Continue? ") == []
    assert splitter.flush() == ["Continue? "]
    assert splitter.flush() == []
    assert splitter.feed(b"yes\n") == ["yes"]


def test_flush_holds_back_half_a_character_and_half_a_line_end() -> None:
    splitter = LineSplitter()
    splitter.feed(b"caf\xc3")
    assert splitter.flush() == ["caf"]
    assert splitter.feed(b"\xa9\r") == []
    assert splitter.flush() == ["é"]
    assert splitter.feed(b"\nnext\n") == ["next"]


def test_a_limit_too_small_for_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        LineSplitter(3)


@given(
    text=st.text(st.characters(blacklist_characters="\0\r", blacklist_categories=("Cs",))),
    cuts=st.lists(st.integers(0, 400)),
    limit=st.integers(4, 40),
)
def test_wherever_the_stream_is_cut_nothing_is_lost(text: str, cuts: list[int], limit: int) -> None:
    data = text.encode()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[start:end] for start, end in pairwise(edges)]
    lines = split(*chunks, max_line_bytes=limit)
    assert "".join(lines) == text.replace("\n", "")
    assert all(len(line.encode()) <= limit for line in lines)
    assert lines == split(data, max_line_bytes=limit)

from datetime import UTC, datetime, timedelta

import pytest

from agentvine.cli.formats import (
    fmt_age,
    fmt_bytes,
    fmt_diff_stat,
    fmt_duration,
    fmt_tests,
    fmt_took,
    fmt_words,
)

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds_ago", "text"),
    [
        (0.4, "now"),
        (5, "5s ago"),
        (59.9, "59s ago"),
        (60, "1m ago"),
        (7200, "2h ago"),
        (200_000, "2d ago"),
        (-90, "in 1m"),
    ],
)
def test_ages_are_told_in_the_largest_unit_that_fits(seconds_ago: float, text: str):
    assert fmt_age(NOW - timedelta(seconds=seconds_ago), NOW) == text


def test_no_time_is_a_dash():
    assert fmt_age(None, NOW) == "-"
    assert fmt_duration(None) == "-"
    assert fmt_bytes(None) == "-"
    assert fmt_took(NOW, None) == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (65, "1 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float, text: str):
    assert fmt_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (512, "512 B"), (1536, "1.5 KiB"), (5 * 2**20, "5.0 MiB"), (2**31, "2.0 GiB")],
)
def test_sizes(count: int, text: str):
    assert fmt_bytes(count) == text


def test_a_diff_stat_reads_like_gits():
    assert fmt_diff_stat({"files": 1, "added": 3, "removed": 1}) == (
        "1 file changed, 3 insertions(+), 1 deletion(-)"
    )
    assert fmt_diff_stat({"files": 0}) == "nothing changed"
    assert fmt_diff_stat({}) == "nothing changed"


def test_test_results_say_what_was_counted():
    counted = {"total": 12, "failures": 2, "errors": 0, "passed": False, "duration_seconds": 0.84}

    assert fmt_tests({**counted, "failures": 0}) == "12 tests passed in 0.8 s"
    assert fmt_tests(counted) == "2 of 12 tests failed, in 0.8 s"
    assert fmt_tests({"passed": False, "exit_code": 1, "duration_seconds": 3.2}) == (
        "failed in 3.2 s (exit code 1)"
    )
    assert fmt_tests({}) == "none were run"


def test_words():
    assert fmt_words(["a", "b"]) == "a, b"
    assert fmt_words([]) == "-"

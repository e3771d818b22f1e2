"""Lengths of time, as people say them."""

import pytest

from agentvine.kit.spans import roughly


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3, "a few seconds"),
        (4, "a few seconds"),
        (38, "about 40 seconds"),
        (56, "about a minute"),
        (89, "about a minute"),
        (150, "about 2 minutes"),
        (44 * 60, "about 44 minutes"),
        (3589, "about an hour"),
        (2.4 * 3600, "about 2 hours"),
        (23 * 3600, "about a day"),
        (74 * 3600, "about 3 days"),
    ],
)
def test_a_length_of_time_is_said_in_words(seconds: float, said: str):
    assert roughly(seconds) == said

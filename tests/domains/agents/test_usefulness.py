"""How useful a memory is."""

import pytest

from agentvine.domains.agents.recall import usefulness


def test_usefulness_is_between_nothing_and_all():
    assert usefulness(1.0, 10, 0) == pytest.approx(1.0)
    assert usefulness(0.0, 1, 10_000) == pytest.approx(0.025, abs=0.001)


def test_of_relevance_importance_and_recency_each_makes_a_memory_more_useful():
    middle = usefulness(0.5, 5, 30)

    assert middle == pytest.approx(0.6 * 0.5 + 0.25 * 0.5 + 0.15 * 0.5)
    assert usefulness(0.6, 5, 30) > middle
    assert usefulness(0.5, 6, 30) > middle
    assert usefulness(0.5, 5, 29) > middle

"""A worker takes what the machine allows, but nothing weaker than its owner accepts."""

import pytest

from agentvine.kit.process import ContainmentLevel
from agentvine.worker.isolation import ContainmentUnavailable, find_isolation

GROUP, NAMESPACE = ContainmentLevel.GROUP, ContainmentLevel.NAMESPACE


async def test_what_is_weaker_than_the_minimum_is_refused_by_name():
    with pytest.raises(ContainmentUnavailable) as refused:
        await find_isolation(GROUP, minimum=NAMESPACE)
    assert "at least by namespace" in refused.value.detail
    assert "only by group" in refused.value.detail
    assert "AGENTVINE_WORKER__MINIMUM_CONTAINMENT" in refused.value.detail


async def test_the_strongest_there_is_will_do_for_any_minimum_that_it_reaches():
    best = (await find_isolation(None)).containment.level
    for minimum in list(ContainmentLevel)[list(ContainmentLevel).index(best) :]:
        assert (await find_isolation(None, minimum=minimum)).containment.level is best

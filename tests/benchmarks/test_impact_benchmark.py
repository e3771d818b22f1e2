"""Looking into a repository costs about what parsing it costs, and far less the second time."""

import pytest

from benchmarks.impact.__main__ import run, table


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_second_look_costs_a_part_of_the_first_one():
    took = await run(300)
    parse, first, again = took.values()
    # Loose: programs have to start, and the machine may be busy.
    assert first.cpu_seconds < 10 * parse.cpu_seconds + 5
    assert again.cpu_seconds < first.cpu_seconds
    assert "| first look |" in table(took)

"""The benchmark of looks at a run's processes runs, and tells ratios."""

from benchmarks.looks.__main__ import measure, table


def test_a_look_beside_others_is_cheaper_than_those_that_look_at_all():
    taken = measure(others=60, looks=20)

    held = taken.pop("AgentVine, while it runs, in a namespace")
    in_group = taken.pop("AgentVine, while it runs, in a group")
    assert held < in_group < min(taken.values())


def test_the_table_compares_with_ours():
    shown = table({150: {"psutil": 80.0, "AgentVine, while it runs, in a namespace": 20.0}})
    assert "| 150 | psutil | 80 | 4.0 |" in shown

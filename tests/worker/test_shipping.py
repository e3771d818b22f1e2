"""In which order a run's lines are told to the server."""

from datetime import UTC, datetime

from agentvine.protocol.executions import LogLineIn
from agentvine.worker.shipping import in_parts
from agentvine.worker.spool import SpooledLine

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def spooled(*streams: str) -> list[SpooledLine]:
    """Lines as they lie in a spool, each with its number within its stream."""
    numbers: dict[str, int] = {}
    lines: list[SpooledLine] = []
    for offset, stream in enumerate(streams):
        numbers[stream] = numbers.get(stream, 0) + 1
        text = LogLineIn(message=f"{stream} {numbers[stream]}", logged_at=NOW)
        lines.append(SpooledLine(stream, numbers[stream], text, offset + 1))
    return lines


def told(lines: list[SpooledLine]) -> list[str]:
    parts = in_parts(lines)
    assert all(len({line.stream for line in part}) == 1 for part in parts)
    return [line.line.message for part in parts for line in part]


def test_lines_are_told_in_the_order_they_came():
    lines = spooled("system", "stdout", "stderr", "stdout", "stdout", "system", "test", "system")

    assert told(lines) == [line.line.message for line in lines]


def test_of_two_outputs_that_alternate_much_each_is_told_at_a_time():
    lines = spooled("system", *("stdout", "stderr") * 40, "system", "test", *("stderr", "stdout"))

    parts = in_parts(lines)
    assert len(parts) < 10
    assert [(part[0].stream, part[0].seq, len(part)) for part in parts] == [
        ("system", 1, 1),
        ("stderr", 1, 40),
        ("stdout", 1, 40),
        ("system", 2, 1),
        ("test", 1, 1),
        ("stderr", 41, 1),
        ("stdout", 41, 1),
    ]


def test_no_line_is_lost_or_put_before_an_earlier_one_of_its_stream():
    lines = spooled(*("stdout", "test", "stderr", "system", "stderr") * 30)

    ordered = [line for part in in_parts(lines) for line in part]
    assert len(ordered) == len(lines)
    for stream in ("stdout", "stderr", "system", "test"):
        numbers = [line.seq for line in ordered if line.stream == stream]
        assert numbers == list(range(1, len(numbers) + 1))


def test_nothing_to_tell_is_no_part():
    assert in_parts([]) == []

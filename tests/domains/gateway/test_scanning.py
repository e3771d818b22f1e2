"""Usage is read out of a stream wherever its chunks end, and told sums are not added up."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentvine.domains.gateway.routes import ANTHROPIC, CHAT, GEMINI, RESPONSES
from agentvine.domains.gateway.wires.asked import FeatureUnpriced, RequestUnreadable, read_body
from agentvine.domains.gateway.wires.used import MAX_EVENT_BYTES, EventSplitter, Scanner, data_of
from tests.domains.gateway.recordings import RECORDINGS, Recording
from tests.support.upstream import sse


def scan(recording: Recording, chunks: list[bytes]) -> Scanner:
    scanner, splitter = recording.wire.scanner(), EventSplitter()
    passed = b""
    for chunk in chunks:
        for event in splitter.feed(chunk):
            passed += event
            scanner.take(event)
    assert passed + splitter.flush() == b"".join(chunks)
    return scanner


def cut_at(whole: bytes, places: set[int]) -> list[bytes]:
    borders = [0, *sorted(place % len(whole) for place in places), len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(borders)]


@given(st.sampled_from(RECORDINGS), st.sets(st.integers(0, 5000), max_size=40))
def test_any_chunking_of_a_stream_tells_the_same_usage(recording: Recording, places: set[int]):
    scanner = scan(recording, cut_at(recording.whole, places))

    assert scanner.counts.tokens() == recording.tokens
    assert scanner.counts.reasoning == recording.reasoning
    assert scanner.counts.is_final
    assert scanner.text_bytes == scan(recording, recording.events).text_bytes > 0


def test_of_an_answer_that_breaks_off_every_part_was_seen_however_many_there_were():
    part = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "wörd"}}
    event = f"event: content_block_delta\ndata: {json.dumps(part)}\n\n".encode()
    scanner = ANTHROPIC.scanner()

    for _ in range(5000):
        scanner.take(event)

    assert scanner.text_bytes == 5000 * len("wörd".encode())


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_one_byte_at_a_time_tells_the_same_usage(recording: Recording):
    scanner = scan(recording, [bytes([byte]) for byte in recording.whole])

    assert scanner.counts.tokens() == recording.tokens


@pytest.mark.parametrize("recording", RECORDINGS, ids=str)
def test_a_stream_without_its_end_is_never_taken_for_a_whole_account(recording: Recording):
    told = [scan(recording, recording.events[:n]).counts for n in range(len(recording.events))]
    ends = [n for n, counts in enumerate(told) if counts.is_final]

    # Final is only what has the last count: all of it.
    assert all(told[n].tokens() == recording.tokens for n in ends)
    assert [counts.tokens().output for counts in told] == sorted(
        counts.tokens().output for counts in told
    )


def test_a_compatible_server_that_tells_its_input_late_is_believed():
    usage = {"input_tokens": 0, "output_tokens": 0}
    late = {"input_tokens": 700, "output_tokens": 30}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": late}
    scanner = ANTHROPIC.scanner()
    for event in ({"type": "message_start", "message": {"usage": usage}}, end):
        scanner.read_event(event)

    assert (scanner.counts.input, scanner.counts.output) == (700, 30)


@pytest.mark.parametrize(
    ("wire", "body", "expected"),
    [
        (ANTHROPIC, {"usage": {"input_tokens": 5, "output_tokens": 7}}, (5, 7)),
        (CHAT, {"usage": {"prompt_tokens": 5, "completion_tokens": 7}}, (5, 7)),
        (RESPONSES, {"usage": {"input_tokens": 5, "output_tokens": 7}}, (5, 7)),
        (GEMINI, {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7}}, (5, 7)),
    ],
    ids=["anthropic", "chat", "responses", "gemini"],
)
def test_whole_answers_tell_their_usage(wire, body, expected):
    scanner = wire.scanner()
    scanner.read_whole(json.dumps(body).encode())

    assert (scanner.counts.input, scanner.counts.output) == expected


def test_a_list_of_answers_is_read_to_its_end():
    parts = [
        {"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1}},
        {
            "candidates": [{"finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 8},
        },
    ]
    scanner = GEMINI.scanner()
    scanner.read_whole(json.dumps(parts).encode())

    assert (scanner.counts.output, scanner.counts.is_final) == (8, True)


@pytest.mark.parametrize("wire", [ANTHROPIC, CHAT, RESPONSES, GEMINI])
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "usage",
                        "message",
                        "choices",
                        "delta",
                        "response",
                        "type",
                        "usageMetadata",
                        "candidates",
                        "output_tokens",
                        "prompt_tokens",
                        "content",
                        "parts",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
def test_no_answer_breaks_the_reader(wire, answer):
    scanner = wire.scanner()
    scanner.read_whole(json.dumps(answer).encode())
    if isinstance(answer, dict):
        scanner.read_event(answer)

    assert scanner.counts.tokens().input >= 0


@pytest.mark.parametrize("wire", [ANTHROPIC, CHAT, RESPONSES, GEMINI])
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "model",
                "messages",
                "input",
                "contents",
                "tools",
                "tool_choice",
                "max_tokens",
                "n",
                "generationConfig",
                "modalities",
                "thinking",
                "context_management",
                "service_tier",
            ]
        ),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["type", "source", "inlineData", "budget_tokens", "edits"]),
                    inner,
                )
            ),
            max_leaves=8,
        ),
    )
)
def test_no_request_breaks_the_relay(wire, body):
    raw = json.dumps(body).encode()
    try:
        asked = wire.read(raw, read_body(raw), "m:generateContent")
    except (RequestUnreadable, FeatureUnpriced):
        return
    wire.limit_output(asked, 300, is_compatible=False)
    wire.ask_for_usage(asked)

    assert asked.input_bound >= len(raw)
    assert read_body(asked.payload())


def test_an_endless_event_is_passed_over_and_does_not_fill_the_memory():
    splitter = EventSplitter()
    for _ in range(MAX_EVENT_BYTES // 1_000_000 + 2):
        splitter.feed(b"x" * 1_000_000)

    assert splitter.is_lost
    assert [data_of(event) for event in splitter.feed(b"\n\n" + sse({"a": 1})[0])][-1] == {"a": 1}

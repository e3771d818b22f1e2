"""The checker finds each kind of broken promise, and tells no more than is needed to see it."""

import json
from typing import Any

import pytest

from tests.support.histories.checker import find_violations
from tests.support.histories.history import Fact, History, Kind, read_history

GOOD = """
{"at": 0.1, "kind": "cap", "key": "worker:w1", "limit": 1}
{"at": 1.0, "kind": "enqueued", "order": "a"}
{"at": 1.1, "kind": "told", "what": "enqueue", "order": "a", "sent_at": 0.9, "taken": true}
{"at": 2.0, "kind": "granted", "order": "a", "fence": 1, "worker": "w1", "token": "t1"}
{"at": 2.1, "kind": "claim_told", "worker": "w1", "token": "t1", "sent_at": 1.9,
 "orders": [["a", 1]]}
{"at": 2.1, "kind": "claim_told", "worker": "w1", "token": "t1", "sent_at": 2.05,
 "orders": [["a", 1]]}
{"at": 2.2, "kind": "program_started", "order": "a", "worker": "w1", "execution": "e1"}
{"at": 3.0, "kind": "line", "order": "a", "fence": 1, "execution": "e1", "stream": "o", "seq": 1}
{"at": 3.1, "kind": "told", "what": "log", "order": "a", "fence": 1, "sent_at": 3, "taken": true,
 "execution": "e1", "stream": "o", "high": 1}
{"at": 4.0, "kind": "renewed", "order": "a", "fence": 1, "worker": "w1"}
{"at": 4.5, "kind": "stopped", "worker": "w1"}
{"at": 5.0, "kind": "given_back", "order": "a", "fence": 1, "is_taken_back": true}
{"at": 6.0, "kind": "granted", "order": "a", "fence": 3, "worker": "w2", "token": "t2"}
{"at": 6.1, "kind": "program_started", "order": "a", "worker": "w2", "execution": "e2"}
{"at": 6.5, "kind": "program_ended", "order": "a", "worker": "w1", "execution": "e1"}
{"at": 6.6, "kind": "told", "what": "complete", "order": "a", "fence": 1, "sent_at": 6.5,
 "taken": false}
{"at": 7.0, "kind": "program_ended", "order": "a", "worker": "w2", "execution": "e2"}
{"at": 7.1, "kind": "settled", "order": "a", "fence": 3, "status": "completed"}
{"at": 7.2, "kind": "told", "what": "complete", "order": "a", "fence": 3, "sent_at": 7,
 "taken": true, "answer": "completed"}
{"at": 7.3, "kind": "told", "what": "complete", "order": "a", "fence": 3, "sent_at": 7.2,
 "taken": true, "answer": "completed"}
{"at": 9.0, "kind": "over"}
"""


def fact(at: float, kind: Kind, **members: Any) -> Fact:
    return Fact.from_json(json.dumps({"at": at, "kind": kind.value, **members}))


# What is added to the good history, the promise it breaks, and how many facts show that.
BAD: dict[str, tuple[Fact, str, int]] = {
    "a stale completion is taken": (
        fact(6.6, Kind.TOLD, what="complete", order="a", fence=1, sent_at=6.2, taken=True),
        "P1",
        2,
    ),
    "a stale line is stored": (
        fact(6.6, Kind.LINE, order="a", fence=1, execution="e1", stream="o", seq=2),
        "P1",
        2,
    ),
    "a stale lease is extended": (
        fact(6.6, Kind.RENEWED, order="a", fence=1, worker="w1"),
        "P1",
        2,
    ),
    "a fence is granted twice": (
        fact(6.6, Kind.GRANTED, order="a", fence=3, worker="w1", token="t2"),
        "P1",
        2,
    ),
    "two programs run at once": (
        fact(6.2, Kind.PROGRAM_STARTED, order="a", worker="w3", execution="e3"),
        "P1 (programs)",
        2,
    ),
    "a repeated claim does not get its order again": (
        fact(2.2, Kind.CLAIM_TOLD, worker="w1", token="t1", sent_at=2.1, orders=[]),
        "P2",
        2,
    ),
    "a claim gets what another was granted": (
        fact(6.6, Kind.CLAIM_TOLD, worker="w3", token="t9", sent_at=6.5, orders=[["a", 3]]),
        "P2",
        2,
    ),
    "an acknowledged order is gone": (
        fact(1.2, Kind.TOLD, what="enqueue", order="b", sent_at=1, taken=True),
        "P5",
        1,
    ),
    "an acknowledged line is gone": (
        fact(
            3.2,
            Kind.TOLD,
            what="log",
            order="a",
            fence=1,
            sent_at=3,
            taken=True,
            execution="e1",
            stream="o",
            high=2,
        ),
        "P5",
        1,
    ),
    "an acknowledged completion is gone": (
        fact(5.2, Kind.TOLD, what="complete", order="a", fence=1, sent_at=3, taken=True),
        "P5",
        1,
    ),
    "an order ends twice": (fact(8.0, Kind.SETTLED, order="a", fence=3, status="failed"), "P6", 2),
    "an ended order is handed out": (
        fact(8.0, Kind.GRANTED, order="a", fence=4, worker="w2"),
        "P6",
        2,
    ),
    "an ended order changes": (fact(8.0, Kind.REOPENED, order="a"), "P6", 2),
    "an order never ends": (fact(8.0, Kind.ENQUEUED, order="b"), "P6", 2),
    "a repeated report is answered otherwise": (
        fact(
            7.4,
            Kind.TOLD,
            what="complete",
            order="a",
            fence=3,
            sent_at=7.2,
            taken=True,
            answer="failed",
        ),
        "P7",
        2,
    ),
    "a worker gets more than it may have": (
        fact(2.5, Kind.GRANTED, order="b", fence=1, worker="w1"),
        "P8",
        3,
    ),
    "a place is never given back": (
        fact(8.5, Kind.GRANTED, order="b", fence=1, worker="w2"),
        "P8",
        2,
    ),
    "a line is missing": (
        fact(6.6, Kind.LINE, order="a", fence=3, execution="e2", stream="o", seq=2),
        "P21",
        1,
    ),
    "a line is stored twice": (
        fact(3.2, Kind.LINE, order="a", fence=1, execution="e1", stream="o", seq=1),
        "P21",
        2,
    ),
}


def history(text: str, *added: Fact) -> History:
    joined = text.replace(",\n ", ", ")
    facts = [Fact.from_json(line) for line in joined.splitlines() if line]
    return History([*facts, *added]).in_order()


def test_a_history_that_keeps_every_promise_passes():
    assert find_violations(history(GOOD)) == []


@pytest.mark.parametrize("case", list(BAD))
def test_a_broken_promise_is_found_and_shown_by_few_facts(case: str):
    added, promise, needed = BAD[case]
    found = {violation.promise: violation for violation in find_violations(history(GOOD, added))}
    assert promise in found
    assert len(found[promise].shortest) == needed, str(found[promise])
    assert added in found[promise].shortest.facts


def test_what_was_sent_before_the_newer_grant_may_have_been_taken_before_it():
    def line(sent_at: float) -> Fact:
        told: dict[str, Any] = {"order": "a", "fence": 1, "taken": True, "execution": "e1"}
        return fact(6.6, Kind.TOLD, what="log", stream="o", high=1, sent_at=sent_at, **told)

    assert find_violations(history(GOOD, line(5.9))) == []
    late = history(GOOD, line(6.3))
    assert [found.promise for found in find_violations(late)] == ["P1"]
    assert find_violations(late, slack=0.5) == []


def test_a_report_that_ended_its_claim_may_come_again_after_the_next_grant():
    ended = GOOD.replace(', "is_taken_back": true', "")
    report = {"what": "fail", "order": "a", "fence": 1, "taken": True, "answer": ["pending", True]}
    again = [fact(at, Kind.TOLD, sent_at=at, **report) for at in (5.1, 6.7)]
    assert find_violations(history(ended, *again)) == []
    assert [found.promise for found in find_violations(history(GOOD, *again))] == ["P1"]


def test_facts_survive_being_written_and_read(tmp_path):
    path = tmp_path / "facts.jsonl"
    history(GOOD).save(path)
    with path.open("a") as file:
        file.write('{"at": 9.5, "kind": "ov')  # its writer was killed
    assert read_history([path]).facts == history(GOOD).facts


def test_the_canonical_text_does_not_depend_on_ids():
    def told(order: str) -> str:
        made = History()
        made.add(1.0, Kind.ENQUEUED, order=order)
        made.add(2.0, Kind.SETTLED, order=order, fence=1, status="failed")
        return made.canonical()

    first = told("01890a5d-ac96-774b-bcce-b302099a8057")
    assert first == told("01890a5d-ac97-774b-bcce-b302099a8058")
    assert "id0" in first

"""Finds broken promises in a history, and the shortest part of it that shows them.

Each rule looks at all facts in order and tells the first thing that should not be. Rules that
compare what a client was told with what the rows became allow for ``slack`` seconds between two
clocks or two moments of one transaction; in a simulation there is none.
"""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.histories.history import Fact, History, Kind

Rule = Callable[[History, float], str | None]

_ACTS = {Kind.RENEWED, Kind.GIVEN_BACK, Kind.SETTLED, Kind.LINE}
_ENDS = {Kind.GIVEN_BACK, Kind.SETTLED}
_REPORTS = {"complete", "fail", "release"}
_MOST_STEPS = 4000


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken, and what shows it."""

    promise: str
    told: str
    shortest: History

    def __str__(self) -> str:
        lines = "\n".join(f"  {fact.to_json()}" for fact in self.shortest)
        return f"{self.promise} is broken: {self.told}\n{lines}"


def find_violations(history: History, *, slack: float = 0.0) -> list[Violation]:
    """Every promise that this history breaks, each with the shortest history that does so."""
    found: list[Violation] = []
    for promise, rule in RULES.items():
        told = rule(history, slack)
        if told is not None:
            # Told of the whole: where something is missing, the shortest part misses more.
            found.append(Violation(promise, told, _shortest(history, rule, slack)))
    return found


def _shortest(history: History, rule: Rule, slack: float) -> History:
    """Leave out whatever the rule can do without: large parts first, then single facts."""
    facts, steps = list(history), 0
    size = max(1, len(facts) // 2)
    while True:
        start, is_smaller = 0, False
        while start < len(facts) and steps < _MOST_STEPS:
            steps += 1
            fewer = facts[:start] + facts[start + size :]
            if rule(History(fewer), slack) is not None:
                facts, is_smaller = fewer, True
            else:
                start += size
        if size == 1 and (not is_smaller or steps >= _MOST_STEPS):
            return History(facts)
        size = max(1, size // 2)


def one_live_holder(history: History, slack: float) -> str | None:
    """P1: what was begun after a newer grant is not taken by an older fence.

    A report that had ended its claim before may come again: that is answered, and writes nothing.
    """
    granted: dict[str, tuple[int, float]] = {}
    reported: set[tuple[str, int]] = set()
    for fact in history:
        newest, since = granted.get(fact.order, (0, 0.0))
        if fact.kind is Kind.GRANTED:
            if fact.fence <= newest:
                return f"fence {fact.fence} was granted after fence {newest}"
            granted[fact.order] = (fact.fence, fact.at)
        elif _is_taken(fact) and fact.more["what"] in _REPORTS and _claim(fact) in reported:
            continue
        elif fact.kind in _ACTS and 0 < fact.fence < newest:
            return f"{fact.kind} by fence {fact.fence} after fence {newest} was granted"
        elif _is_taken(fact) and fact.fence < newest and fact.more["sent_at"] > since + slack:
            return f"{fact.more['what']} by fence {fact.fence} was taken, {newest} was granted"
        elif fact.kind in _ENDS and not fact.more.get("is_taken_back"):
            reported.add(_claim(fact))
    return None


def one_live_program(history: History, slack: float) -> str | None:
    """P1: no two programs of an order at once, but for those whose worker could not end its own."""
    live: dict[str, dict[str, str]] = defaultdict(dict)
    for fact in history:
        if fact.kind is Kind.PROGRAM_STARTED:
            others = [name for name in live[fact.order] if name != fact.more["execution"]]
            if others:
                return f"a program was started while one of {', '.join(others)} runs"
            live[fact.order][fact.more["execution"]] = fact.worker
        elif fact.kind is Kind.PROGRAM_ENDED:
            live[fact.order].pop(fact.more["execution"], None)
        elif fact.kind is Kind.STOPPED:
            for programs in live.values():
                for execution, worker in list(programs.items()):
                    if worker == fact.worker:
                        del programs[execution]
    return None


def same_claim_again(history: History, slack: float) -> str | None:
    """P2: a claim that is repeated gets all that it got before and that still runs."""
    granted: dict[tuple[str, int], tuple[str, float]] = {}
    for fact in history:
        claim = (fact.order, fact.fence)
        if fact.kind is Kind.GRANTED and fact.more.get("token"):
            if claim in granted:
                return f"fence {fact.fence} was granted twice"
            granted[claim] = (fact.more["token"], fact.at)
        elif fact.kind in _ENDS:
            granted[claim] = ("", 0.0)
        elif fact.kind is Kind.CLAIM_TOLD:
            token, sent_at = fact.more["token"], fact.more["sent_at"]
            got = {(order, fence) for order, fence in fact.more["orders"]}
            if any(granted.get(entry, (token, 0))[0] not in ("", token) for entry in got):
                return "a claim got orders that were granted to another token"
            for entry, (by, since) in granted.items():
                if by == token and since + slack < sent_at and entry not in got:
                    return f"a repeated claim did not get fence {entry[1]} again"
    return None


def nothing_acknowledged_is_lost(history: History, slack: float) -> str | None:
    """P5: what a client was told is so."""
    lines: Counter[tuple[str, str]] = Counter()
    rows: set[tuple[str, str, int]] = set()
    for fact in history:
        if fact.kind is Kind.ENQUEUED:
            rows |= {("enqueue", fact.order, 0), ("enqueue", fact.more.get("task", ""), 0)}
        elif fact.kind is Kind.LINE:
            lines[fact.more["execution"], fact.more["stream"]] += 1
        elif fact.kind is Kind.SETTLED and fact.more["status"] == "completed":
            rows.add(("complete", fact.order, fact.fence))
    for fact in filter(_is_taken, history):
        what = fact.more["what"]
        if what in ("enqueue", "complete") and (what, fact.order, fact.fence) not in rows:
            return f"{what} was acknowledged, and is not there"
        if what == "log":
            held = lines[fact.more["execution"], fact.more["stream"]]
            if held < fact.more["high"]:
                return f"{fact.more['high']} lines were acknowledged, {held} are there"
    return None


def one_end(history: History, _slack: float) -> str | None:
    """P6: an order ends once, and stays as it ended; in the end all have ended."""
    ended: dict[str, str] = {}
    waiting: set[str] = set()
    for fact in history:
        if fact.kind is Kind.OVER and waiting:
            return f"{len(waiting)} orders have not ended: {', '.join(sorted(waiting)[:3])}"
        if fact.kind is Kind.ENQUEUED:
            waiting.add(fact.order)
        elif fact.kind is Kind.SETTLED:
            if fact.order in ended:
                return f"it ended twice: {ended[fact.order]}, then {fact.more['status']}"
            ended[fact.order] = fact.more["status"]
            waiting.discard(fact.order)
        elif fact.order in ended and fact.kind in {Kind.GRANTED, Kind.GIVEN_BACK, Kind.REOPENED}:
            return f"{fact.kind} after it was {ended[fact.order]}"
    return None


def same_answer_again(history: History, _slack: float) -> str | None:
    """P7: a message that is repeated gets the first answer again."""
    answers: dict[tuple[str, int, str], object] = {}
    for fact in history:
        if _is_taken(fact) and "answer" in fact.more:
            key = (fact.order, fact.fence, fact.more["what"])
            first = answers.setdefault(key, fact.more["answer"])
            if first != fact.more["answer"]:
                return f"{fact.more['what']}: first {first}, then {fact.more['answer']}"
    return None


def caps_hold(history: History, _slack: float) -> str | None:
    """P8: never more at once than a cap allows, and nothing is still counted in the end.

    What an order counts for is told when it is granted; ``worker:<id>`` always.
    """
    caps: dict[str, int] = {}
    running: dict[str, set[str]] = defaultdict(set)
    for fact in history:
        if fact.kind is Kind.CAP:
            caps[fact.more["key"]] = fact.more["limit"]
        elif fact.kind is Kind.GRANTED:
            for key in [f"worker:{fact.worker}", *fact.more.get("keys", [])]:
                running[key].add(fact.order)
                if key in caps and len(running[key]) > caps[key]:
                    return f"{len(running[key])} run for {key}, {caps[key]} may"
        elif fact.kind in _ENDS:
            for orders in running.values():
                orders.discard(fact.order)
        elif fact.kind is Kind.OVER and (left := [key for key, some in running.items() if some]):
            return f"{', '.join(left)} is still counted as running"
    return None


def logs_have_no_gap(history: History, _slack: float) -> str | None:
    """P21: each stream's lines are stored once, in order, and without a gap."""
    high: Counter[tuple[str, str]] = Counter()
    for fact in history:
        if fact.kind is Kind.LINE:
            stream = (fact.more["execution"], fact.more["stream"])
            if fact.more["seq"] != high[stream] + 1:
                return f"line {fact.more['seq']} of {stream[1]} came after line {high[stream]}"
            high[stream] += 1
    return None


RULES: dict[str, Rule] = {
    "P1": one_live_holder,
    "P1 (programs)": one_live_program,
    "P2": same_claim_again,
    "P5": nothing_acknowledged_is_lost,
    "P6": one_end,
    "P7": same_answer_again,
    "P8": caps_hold,
    "P21": logs_have_no_gap,
}


def _is_taken(fact: Fact) -> bool:
    return fact.kind is Kind.TOLD and fact.more["taken"]


def _claim(fact: Fact) -> tuple[str, int]:
    return fact.order, fact.fence

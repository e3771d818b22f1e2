"""What happened, as one list of facts: what clients did and were told, and what the rows became.

A fact is one line of JSON. Clients and observers of the database append them while a test runs;
``checker`` reads the whole list afterwards. Times are seconds on one clock; of two facts with the
same time the earlier in the list came first.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_TOKEN = re.compile(r"(?<![\w-])[\w-]{32}(?![\w-])")


class Kind(StrEnum):
    """What a fact tells. The first group are rows, seen by the database itself."""

    ENQUEUED = "enqueued"
    GRANTED = "granted"
    """A worker holds the order by this fence from now on."""
    ATTEMPT = "attempt"
    """The execution that belongs to a fence."""
    RENEWED = "renewed"
    GIVEN_BACK = "given_back"
    """The order waits again, whoever wanted that; ``is_taken_back``: not its holder."""
    SETTLED = "settled"
    """The order has ended: ``status`` says how, and ``is_taken_back`` that its holder did not."""
    REOPENED = "reopened"
    """An ended order has changed its status; it never may."""
    LINE = "line"
    """A line of output was stored."""
    CAP = "cap"
    """So many orders with this key may run at once."""

    TOLD = "told"
    """A client has an answer to a message: what, by which fence, when sent, whether taken."""
    CLAIM_TOLD = "claim_told"
    """A worker has the answer to a claim with this token."""
    PROGRAM_STARTED = "program_started"
    PROGRAM_ENDED = "program_ended"
    STOPPED = "stopped"
    """A worker's process was killed or held, so that it could not keep its promises."""
    FAULT = "fault"
    """Something else was done to the system; for people who read the history."""
    OVER = "over"
    """Everything was given time to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that happened."""

    at: float
    kind: Kind
    order: str = ""
    fence: int = 0
    worker: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """One line."""
        members: dict[str, Any] = {"at": round(self.at, 6), "kind": self.kind.value}
        known = {"order": self.order, "fence": self.fence, "worker": self.worker}
        return json.dumps(
            members | {name: some for name, some in known.items() if some} | self.more
        )

    @classmethod
    def from_json(cls, line: str) -> "Fact":
        """Read a line."""
        members = json.loads(line)
        known = {
            name: members.pop(name) for name in ("order", "fence", "worker") if name in members
        }
        at, kind = members.pop("at", 0.0), Kind(members.pop("kind"))
        return cls(at=at, kind=kind, **known, more=members)


@dataclass(slots=True)
class History:
    """Facts in the order they were told."""

    facts: list[Fact] = field(default_factory=list)

    def add(self, at: float, kind: Kind, **members: Any) -> None:
        """Append a fact."""
        known = {
            name: members.pop(name) for name in ("order", "fence", "worker") if name in members
        }
        self.facts.append(Fact(at=at, kind=kind, **known, more=members))

    def in_order(self) -> "History":
        """The same by time; what has the same time stays as it was told."""
        return History(sorted(self.facts, key=lambda fact: fact.at))

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts)

    def __len__(self) -> int:
        return len(self.facts)

    def canonical(self) -> str:
        """As text in which ids are numbered as they come: equal for two equal courses of things."""
        names: dict[str, str] = {}

        def name(match: "re.Match[str]") -> str:
            return names.setdefault(match[0].replace("-", ""), f"id{len(names)}")

        text = "\n".join(fact.to_json() for fact in self.facts)
        return _TOKEN.sub(name, _UUID.sub(name, text))

    def save(self, path: Path) -> None:
        """Write all facts, one a line."""
        path.write_text("".join(f"{fact.to_json()}\n" for fact in self.facts))


def read_history(paths: Iterable[Path]) -> History:
    """The facts of several files, by time; a last line that is torn was never told."""
    facts: list[Fact] = []
    for path in paths:
        text = path.read_text() if path.exists() else ""
        facts += [
            Fact.from_json(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"
        ]
    return History(facts).in_order()

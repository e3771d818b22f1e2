"""What a message of the protocol and its answer mean to a history."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.histories.history import Kind

Meaning = tuple[Kind, dict[str, Any]]
_REFUSED = 409


@dataclass(frozen=True, slots=True)
class Message:
    """One exchange: what was asked, and what the server answered."""

    path: str
    asked: dict[str, Any]
    status: int
    answer: dict[str, Any]

    def meaning(self) -> Iterator[Meaning]:
        """The facts it makes; none when it was not answered for good."""
        what = self.path.rpartition("/")[2]
        if what == "logs":
            yield from self._log()
        elif what in ("complete", "fail", "release"):
            yield from self._report(what)
        elif self.is_taken and what == "heartbeat":
            yield from self._beat()
        elif self.is_taken and what == "claim":
            orders = [[order["order_id"], order["fence"]] for order in self.answer["orders"]]
            yield Kind.CLAIM_TOLD, {"token": self.asked["claim_token"], "orders": orders}
        elif self.status in (200, 201) and what == "tasks" and "id" in self.answer:
            yield Kind.TOLD, {"what": "enqueue", "order": self.answer["id"], "taken": True}

    @property
    def is_taken(self) -> bool:
        """Whether the server did what was asked."""
        return self.status == 200

    def _claimed(self) -> dict[str, Any]:
        return {"order": self.asked["order_id"], "fence": self.asked["fence"]}

    def _report(self, what: str) -> Iterator[Meaning]:
        facts: dict[str, Any] = {"what": what, "taken": self.is_taken, **self._claimed()}
        if self.is_taken:
            facts["answer"] = [self.answer["status"], self.answer.get("will_retry", False)]
        if self.is_taken or self.status == _REFUSED:
            yield Kind.TOLD, facts

    def _beat(self) -> Iterator[Meaning]:
        for lease in self.answer["leases"]:
            held = {"order": lease["order_id"], "fence": lease["fence"]}
            yield Kind.TOLD, {"what": "beat", "taken": lease["state"] != "lost", **held}

    def _log(self) -> Iterator[Meaning]:
        facts: dict[str, Any] = {"what": "log", "taken": self.is_taken, **self._claimed()}
        if self.is_taken:
            facts |= {"execution": self.path.split("/")[-2], "stream": self.asked["stream"]}
            facts["high"] = self.answer["high_seq"]
        if self.is_taken or self.status == _REFUSED:
            yield Kind.TOLD, facts

"""Plays a worker's life against a server, message by message, and keeps both sides of each."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.api import Caller

FOLDER = Path(__file__).parent / "recorded"
BUNDLE = (
    b"# v2 git bundle\n" + b"2" * 40 + b" refs/heads/agentvine/t-1\n\nPACK"
)  # nobody unpacks it
_NAMES = re.compile(r"\{(\w+)\}")

# A worker's life. Values in braces are filled in from earlier answers and from the scene.
LIFE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "register": (
        "POST",
        "/workers/register",
        {
            "name": "{worker_name}",
            "session_id": "{session_id}",
            "version": "0.1.0",
            "hostname": "host",
            "pid": 1,
            "accepts": [],
            "runtimes": ["command"],
            "queues": ["{queue}"],
            "capabilities": {"python": "expert"},
            "max_concurrent_tasks": 2,
            "held": [],
            "isolation": {"containment": "namespace", "problems": {}, "has_sandbox": True},
            "runtime_reports": [
                {"name": "claude-code", "is_available": False, "problem": "claude is not installed"}
            ],
            "controls": {"can_pause": True, "steers": ["command"], "takes_files": True},
        },
    ),
    "claim": (
        "POST",
        "/queue/claim",
        {
            "worker_id": "{worker_id}",
            "session_id": "{session_id}",
            "claim_token": "a token of one claim, of 24 bytes",
            "number": 1,
            "slots": 2,
            "wait_seconds": 0,
        },
    ),
    "heartbeat": (
        "POST",
        "/queue/heartbeat",
        {
            "worker_id": "{worker_id}",
            "session_id": "{session_id}",
            "held": [{"order_id": "{first_order}", "fence": 1, "phase": "running"}],
        },
    ),
    # A person has paused the run meanwhile, and has said something to it.
    "controlled": (
        "POST",
        "/queue/heartbeat",
        {
            "worker_id": "{worker_id}",
            "session_id": "{session_id}",
            "held": [{"order_id": "{first_order}", "fence": 1, "phase": "running"}],
        },
    ),
    "control": (
        "POST",
        "/queue/control",
        {"order_id": "{first_order}", "fence": 1, "is_paused": True, "messages_to": 1},
    ),
    "listen": (
        "POST",
        "/queue/listen",
        {
            "worker_id": "{worker_id}",
            "session_id": "{session_id}",
            "held": [{"order_id": "{first_order}", "fence": 1, "phase": "running"}],
            "controls": [
                {"order_id": "{first_order}", "fence": 1, "is_paused": True, "messages_to": 1}
            ],
            "wait_seconds": 0,
        },
    ),
    "logs": (
        "POST",
        "/executions/{first_execution}/logs",
        {
            "order_id": "{first_order}",
            "fence": 1,
            "stream": "stdout",
            "first_seq": 1,
            "lines": [
                {
                    "message": "a line",
                    "level": "INFO",
                    "logged_at": "2026-01-01T00:00:00Z",
                    "metadata": {},
                }
            ],
        },
    ),
    "complete": (
        "POST",
        "/queue/complete",
        {
            "order_id": "{first_order}",
            "fence": 1,
            "report": {
                "exit_code": 0,
                "duration_seconds": 1.5,
                "peak_memory_bytes": 1000,
                "metrics": {"changed": False},
                "log_high_water": {"stdout": 1},
            },
        },
    ),
    "fail": (
        "POST",
        "/queue/fail",
        {
            "order_id": "{second_order}",
            "fence": 1,
            "failure_class": "worker_error",
            "message": "it broke",
            "report": {"metrics": {}},
        },
    ),
    "claim again": (
        "POST",
        "/queue/claim",
        {
            "worker_id": "{worker_id}",
            "session_id": "{session_id}",
            "claim_token": "another token of one claim, as long",
            "number": 2,
            "slots": 1,
            "wait_seconds": 0,
        },
    ),
    "bundle": ("PUT", "/executions/{third_execution}/bundle", {}),
    "release": (
        "POST",
        "/queue/release",
        {"order_id": "{third_order}", "fence": 1, "reason": "the worker was told to stop"},
    ),
    "stale": ("POST", "/queue/release", {"order_id": "{first_order}", "fence": 7, "reason": ""}),
}


@dataclass
class Exchange:
    """One message and its answer."""

    method: str
    path: str
    request: Any
    status: int = 0
    answer: Any = None


@dataclass
class Conversation:
    """A worker that says what was recorded, to a server of today."""

    worker: Caller
    known: dict[str, str]
    person: Caller
    """May pause and steer."""
    exchanges: dict[str, Exchange] = field(default_factory=dict)

    async def play(self, life: Mapping[str, Exchange]) -> None:
        """Say everything, in order."""
        for name, message in life.items():
            if name == "controlled":
                await self._pause_and_steer()
            if name == "bundle":
                answer = await self._put_bundle(self._filled(message.path))
            else:
                answer = await self.worker.call(
                    message.method, self._filled(message.path), json=self._filled(message.request)
                )
            body = answer.json() if answer.content else None
            self.exchanges[name] = Exchange(
                message.method, message.path, message.request, answer.status_code, body
            )
            self._learn(name, body)

    async def _pause_and_steer(self) -> None:
        path = f"/queue/orders/{self.known['first_order']}"
        await self.person.post(f"{path}/messages", {"text": "look at the logs"})
        await self.person.post(f"{path}/pause")

    async def _put_bundle(self, path: str) -> Any:
        digest = hashlib.sha256(BUNDLE).hexdigest()
        claim = {"order_id": self.known["third_order"], "fence": "1", "sha256": digest}
        return await self.worker.call("PUT", path, params=claim, content=BUNDLE)

    def _learn(self, name: str, answer: Any) -> None:
        if name == "register":
            self.known["worker_id"] = answer["worker_id"]
        orders = answer.get("orders", []) if answer else []
        for place, order in zip(
            ("first", "second") if name == "claim" else ("third",), orders, strict=False
        ):
            self.known[f"{place}_order"] = order["order_id"]
            self.known[f"{place}_execution"] = order["execution_id"]

    def _filled(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._filled(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._filled(item) for item in value]
        if isinstance(value, str):
            return _NAMES.sub(lambda found: self.known[found[1]], value)
        return value


def todays_life() -> dict[str, Exchange]:
    """What a worker of today says."""
    return {name: Exchange(*message) for name, message in LIFE.items()}


def read_recorded(version: str) -> dict[str, Exchange]:
    """What was recorded under a version, in the order of a worker's life."""
    found = {
        path.stem: Exchange(**json.loads(path.read_text()))
        for path in (FOLDER / version).glob("*.json")
    }
    return {name: found[name] for name in sorted(found, key=list(LIFE).index)}


def write_recorded(version: str, exchanges: Mapping[str, Exchange]) -> None:
    """Keep what was said under a version."""
    folder = FOLDER / version
    folder.mkdir(parents=True, exist_ok=True)
    for name, exchange in exchanges.items():
        text = json.dumps(vars(exchange), indent=2, sort_keys=True)
        (folder / f"{name}.json").write_text(text + "\n")

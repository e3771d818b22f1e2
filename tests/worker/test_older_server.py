"""A worker of today at a server of an earlier minor version, which refuses the unknown."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentvine.client import Client, RetryPolicy
from agentvine.kit.errors import Invalid
from agentvine.kit.ids import new_id
from agentvine.kit.process import Containment, ContainmentLevel, Probe
from agentvine.protocol.base import PROTOCOL_VERSION
from agentvine.runtimes.base import RuntimeInfo
from agentvine.worker.claims import Claims
from agentvine.worker.config import WorkerConfig
from agentvine.worker.isolation import Isolation
from agentvine.worker.leases import LeaseBook
from agentvine.worker.places import DataPlaces
from agentvine.worker.registration import register
from tests.support.http import serve

pytestmark = pytest.mark.promise("P26")

_BARE = Containment(level=ContainmentLevel.GROUP)
_RUNTIMES = [
    RuntimeInfo(name="command", is_available=True, takes_messages=True),
    RuntimeInfo(name="mute", is_available=True),
    RuntimeInfo(name="lost", is_available=False, problem="lost is not installed"),
]
_ISOLATION = Isolation(_BARE, Probe(best=_BARE), None, "none here")
_KNOWN = {
    "register": {
        *("name", "session_id", "version", "hostname", "pid", "accepts", "runtimes", "queues"),
        *("capabilities", "max_concurrent_tasks", "held"),
    },
    "claim": {"worker_id", "session_id", "claim_token", "slots", "wait_seconds"},
}
_CONTROLS = {"can_pause", "steers", "takes_files"}
_REGISTERED = {
    "worker_id": str(new_id()),
    "lease_seconds": 60,
    "heartbeat_seconds": 20,
    "long_poll_seconds": 30,
    "released": 0,
}


def server(
    version: str, *, known: dict[str, set[str]], controls: set[str] = _CONTROLS
) -> tuple[Starlette, list[dict[str, Any]]]:
    """One that answers as that version does, and what it was asked."""
    asked: list[dict[str, Any]] = []

    async def answer(request: Request) -> Response:
        what = request.path_params["what"]
        message = json.loads(await request.body())
        asked.append(message)
        headers = {"AgentVine-Protocol": version}
        unknown = set(message) - known[what] | set(message.get("controls", {})) - controls
        if unknown:
            problem = {
                "type": "about:blank",
                "title": "The request is not valid",
                "status": 422,
                "detail": f"Unknown: {sorted(unknown)}",
                "code": "request_invalid",
            }
            return JSONResponse(problem, 422, headers, "application/problem+json")
        return JSONResponse(_REGISTERED if what == "register" else {"orders": []}, headers=headers)

    return Starlette(routes=[Route("/api/v1/{_}/{what}", answer, methods=["POST"])]), asked


async def register_and_claim(url: str, folder: Path) -> None:
    config = WorkerConfig(server_url=url, token=SecretStr("t"), data_dir=folder, name="w")
    places = DataPlaces(folder).worker("w")
    places.root.mkdir(parents=True, exist_ok=True)
    async with Client(url, "t", retry=RetryPolicy(attempts=1)) as client:
        identity = await register(
            client, config, session_id=new_id(), runtimes=_RUNTIMES, held=[], isolation=_ISOLATION
        )
        claims = Claims(client, places, LeaseBook())
        claimed = await claims.claim(identity, slots=1, wait_seconds=0)
    assert claimed.folders == []


async def test_an_older_server_is_told_only_what_it_knows(tmp_path: Path):
    app, asked = server("1.0", known=_KNOWN)
    with serve(app) as url:
        await register_and_claim(url, tmp_path)
    told, less, claim = asked
    assert set(told) - set(less) == {"isolation", "controls", "runtime_reports"}
    assert "number" not in claim


async def test_a_server_of_the_minor_version_before_is_told_what_it_knows(tmp_path: Path):
    known = {"register": _KNOWN["register"] | {"isolation"}, "claim": _KNOWN["claim"] | {"number"}}
    app, asked = server("1.1", known=known)
    with serve(app) as url:
        await register_and_claim(url, tmp_path)
    told, less, _ = asked
    assert set(told) - set(less) == {"controls", "runtime_reports"}
    assert less["isolation"]["containment"] == "group"


async def test_a_server_that_knows_of_no_files_is_not_told_that_they_are_taken(tmp_path: Path):
    registered = _KNOWN["register"] | {"isolation", "controls", "runtime_reports"}
    known = {"register": registered, "claim": _KNOWN["claim"] | {"number"}}
    app, asked = server("1.4", known=known, controls={"can_pause", "steers"})
    with serve(app) as url:
        await register_and_claim(url, tmp_path)
    told, less, _ = asked
    assert told["controls"] == less["controls"] | {"takes_files": True}
    assert less["runtime_reports"] == told["runtime_reports"]


async def test_a_server_of_today_is_told_everything(tmp_path: Path):
    known = {
        "register": _KNOWN["register"] | {"isolation", "controls", "runtime_reports"},
        "claim": _KNOWN["claim"] | {"number"},
    }
    app, asked = server(PROTOCOL_VERSION, known=known)
    with serve(app) as url:
        await register_and_claim(url, tmp_path)
    told, claim = asked
    assert told["isolation"]["containment"] == "group"
    assert told["controls"] == {
        "can_pause": True,
        "steers": ["command"],
        "takes_files": True,
    }
    assert told["runtimes"] == ["command", "mute"]
    assert told["runtime_reports"][2]["problem"] == "lost is not installed"
    assert claim["number"] == 1


async def test_what_a_server_of_today_refuses_is_not_said_again(tmp_path: Path):
    app, asked = server(PROTOCOL_VERSION, known=_KNOWN)
    with serve(app) as url, pytest.raises(Invalid):
        await register_and_claim(url, tmp_path)
    assert len(asked) == 1

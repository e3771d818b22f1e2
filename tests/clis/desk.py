"""Whole work orders with a real CLI, and the desk of the person who answers what it asks.

Orders are given and changes approved by commands, as people do. What has to be looked at again and
again is read from the server: a command takes a second, of which the agent needs each.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import psutil

from agentvine.config.local_server import find_local_server
from agentvine.llm.scripted import Received, ScriptedUpstream, parse_script
from tests.support.cli import Sandbox
from tests.support.repositories import Repo

NAMES = ("claude-code", "codex", "opencode", "gemini", "qwen", "claude-agent-acp", "codex-acp")
MODELS = {
    "claude-code": "claude-opus-5-5",
    "claude-agent-acp": "claude-opus-5-5",
    "gemini": "gemini-2.5-flash",
    "opencode": "gpt-4.1",  # newer ones it gives a tool for patches
}
OTHER_MODEL = "gpt-5.5"
CHECK = "cmp hello.txt copied.txt"
RATES = {
    "input_usd": "3.1",
    "output_usd": "17",
    "cache_read_usd": "0.3",
    "cache_write_usd": "4.3",
}
"""Dollars a million tokens, each another, so that none can stand for another."""
REST = {"review", "completed", "failed", "blocked"}
WAIT_SECONDS = 240.0
"""For anything that an agent does: a machine may be slow, and what goes wrong shows otherwise."""
_RESULTS = ("tool_result", "function_call_output", "custom_tool_call_output")
Json = dict[str, Any]
T = TypeVar("T")


def connect(team: Sandbox) -> httpx2.Client:
    """A way to the team's server, as its admin."""
    server = find_local_server(team.data_dir)
    assert server is not None
    headers = {"Authorization": f"Bearer {server.token}"}
    url = f"{server.url}/api/v1"
    return httpx2.Client(base_url=url, headers=headers, timeout=60, trust_env=False)


@dataclass
class Desk:
    """One server with a worker, one repository, and the model that the agents ask."""

    name: str
    """The runtime."""
    team: Sandbox
    repo: Repo
    upstream: ScriptedUpstream

    def __post_init__(self) -> None:
        self.http = connect(self.team)
        name = self.repo.path.name
        self.project = self.post("/projects", name=name)["id"]
        self.post("/repositories", location=str(self.repo.path), project_id=self.project)
        self.task = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    @property
    def model(self) -> str:
        return MODELS.get(self.name, OTHER_MODEL)

    def command(self, *words: str) -> Any:
        """What a command says, as JSON where it was asked for that."""
        done = self.team.run(*words, cwd=self.repo.path)
        assert done.exit_code == 0, done
        return done.json if "--json" in words else done.out

    def begin(self, script: str, *more: str) -> None:
        """Give an agent the job of two steps, with a model that says this."""
        self.play(script)
        words = ("run", "Write hello, and copy it.", "--repo", str(self.repo.path))
        how = ("--runtime", self.name, "--model", self.model, "--test", CHECK)
        self.task = self.command(*words, *how, "--no-wait", *more, "--json")["id"]

    def play(self, script: str) -> None:
        self.upstream.play(parse_script(script))

    def get(self, path: str, **params: Any) -> Any:
        found = self.http.get(path, params=params)
        assert found.is_success, found.text
        return found.json()

    def post(self, path: str, **body: Any) -> Any:
        made = self.http.post(path, json=body)
        assert made.is_success, made.text
        return made.json()

    def open_questions(self) -> list[Json]:
        return self.get("/questions", state="open", project_id=self.project)["items"]

    def answer(self, question: Json, **said: Any) -> None:
        """Answer; a question that was withdrawn meanwhile needs no answer."""
        given = self.http.post(f"/questions/{question['id']}/answer", json=said)
        assert given.is_success or given.status_code == 409, given.text

    def allow_all(self) -> None:
        for question in self.open_questions():
            self.answer(question, decision="allow")

    def status(self) -> str:
        return self.get(f"/tasks/{self.task}")["status"]

    def attempts(self) -> list[Json]:
        return self.get(f"/tasks/{self.task}/attempts")["items"]

    def at_rest(self) -> str | None:
        """Allow all that is asked; the task's state, once nothing is done for it any more."""
        self.allow_all()
        status = self.status()
        return status if status in REST else None

    def wait(self, is_so: Callable[[], T | None], what: str) -> T:
        """Look again and again until there is something to see."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not (found := is_so()):
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {WAIT_SECONDS} s for {what}\n{self.logs()}")
            time.sleep(0.05)
        return found

    def rest(self) -> str:
        """Wait for that, and for the end of all that the run has started."""
        status = self.wait(self.at_rest, "the end of the work")
        self.wait(lambda: not self.processes(), f"the end of {self.processes()}")
        return status

    def finish(self) -> None:
        """Allow all that is asked until the change waits for its review."""
        assert self.rest() == "review", self.logs()

    def clear(self) -> None:
        """End what a story that failed has left under way: the next has the same server."""
        if self.task and self.status() not in REST:
            self.http.post(f"/tasks/{self.task}/cancel", json={})
        self.wait(lambda: not self.processes(), f"the end of {self.processes()}")

    def logs(self) -> str:
        told = self.team.run("logs", self.task or "T-1", cwd=self.repo.path).out
        return f"{told}\n{[each.problem for each in self.upstream.requests if each.problem]}"

    def worktrees(self) -> list[Path]:
        return [path for path in (self.team.data_dir / "worktrees").glob("*") if path.is_dir()]

    def calls(self) -> list[Json]:
        """The rows of token_usage of the task."""
        return self.get("/usage/calls", task_id=self.task, limit=200)["items"]

    def asked(self) -> list[Received]:
        """What the agent asked its model, without what it asks on the side."""
        return [each for each in self.upstream.requests if each.wire and not each.is_aside]

    def processes(self) -> list[tuple[psutil.Process, list[str]]]:
        """What runs of the team's runs: each has a home or a place below its data."""
        return processes_below(self.team.data_dir)


def told(requests: Sequence[Received]) -> list[tuple[int, int, int, int]]:
    """What the provider says that each call used: in, out, read from a cache, written into one."""
    return sorted(
        (each.tokens_in, each.tokens_out, each.tokens_cache_read, each.tokens_cache_write)
        for each in (request.usage for request in requests)
        if each is not None
    )


def cost_of(used: tuple[int, int, int, int]) -> Decimal:
    """What a call costs at our rates, each rounded up to a micro-dollar as it is counted."""
    tokens_in, tokens_out, read, written = used
    rate = {name: Decimal(each) for name, each in RATES.items()}
    micros = (
        (tokens_in - read - written) * rate["input_usd"]
        + tokens_out * rate["output_usd"]
        + read * rate["cache_read_usd"]
        + written * rate["cache_write_usd"]
    )
    return micros.quantize(Decimal(1), rounding=ROUND_UP) / 10**6


def results_in(request: Received) -> str:
    """What tools gave, as a request tells its model: all but what the model itself has said."""
    return "\n".join(_results(request.body))


def _results(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for each in part:
            yield from _results(each)
    elif isinstance(part, dict):
        is_result = (
            part.get("type") in _RESULTS or part.get("role") == "tool" or "functionResponse" in part
        )
        if is_result:
            yield json.dumps(part)
        else:
            for each in part.values():
                yield from _results(each)


def processes_below(folder: Path) -> list[tuple[psutil.Process, list[str]]]:
    """What runs of agents' runs with a home or a place below a folder, with its command."""
    found: list[tuple[psutil.Process, list[str]]] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environ = process.environ()
            places = [Path(process.cwd()), Path(environ.get("HOME", "/"))]
            is_below = any(place.is_relative_to(folder) for place in places)
            is_run = "AGENTVINE_RUN_ID" in environ and process.status() != psutil.STATUS_ZOMBIE
            if is_below and is_run:
                found.append((process, process.cmdline()))
    return found

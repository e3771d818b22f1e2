"""``agentvine gateway``: calls to models go through a process of their own."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest

from tests.support.cli import Sandbox, stop, wait_until
from tests.support.http import free_port
from tests.support.repositories import make_repo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SCRIPT = """
usage: {input: 100, output: 20}
turns:
  - calls: [{write_file: {path: made.txt, content: new}}]
  - calls: [{finish: {summary: It is there.}}]
"""


@contextmanager
def started(sandbox: Sandbox, *arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """A command that prints one line once it serves, and is stopped with the block."""
    process = sandbox.start(*arguments)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (sandbox.folder / "stderr.txt").read_text()
        yield line.strip(), process
    finally:
        stop(process)


def test_runs_call_models_through_a_gateway_apart_and_wait_for_it_when_it_is_gone(
    sandbox: Sandbox,
):
    port = free_port()
    sandbox.more["AGENTVINE_GATEWAY_URL"] = f"http://127.0.0.1:{port}"
    sandbox.more["AGENTVINE_KEEP_CALL_BODIES_DAYS"] = "1"
    sandbox.more["AGENTVINE_QUEUE__RETRY_BASE_SECONDS"] = "0.2"
    repo = make_repo(sandbox.folder / "repo")
    (sandbox.folder / "model.yaml").write_text(SCRIPT)
    (sandbox.folder / "key").write_text("sk-canary-0123456789")
    gateway = ("gateway", "--port", str(port), "--json")
    model = ("scripted-model", "--script", "model.yaml", "--port", "0")

    def shown(task_id: str) -> Any:
        return sandbox.run("task", "show", task_id, "--json").json

    def attempts(task_id: str) -> int:
        return len(sandbox.run("attempts", task_id, "--json").json)

    with sandbox.up("--workers", "1"), started(sandbox, *model) as (provider, _):
        added = sandbox.run(
            *("provider", "add", "scripted", "--kind", "anthropic", "--url", provider),
            *("--key-file", "key", "--model", "claude-*"),
        )
        assert added.exit_code == 0, added
        task = sandbox.run(
            *("run", "Make it", "--repo", str(repo.path), "--runtime", "llm", "--no-wait"),
            *("--model", "claude-haiku-4-5", "--permission", "autonomous", "--retries", "100"),
            "--json",
        ).json["id"]
        wait_until(lambda: attempts(task) > 1, "a second attempt", seconds=120)
        with started(sandbox, *gateway) as (said, _):
            wait_until(
                lambda: shown(task)["status"] in {"completed", "failed"}, "its end", seconds=120
            )
            url = json.loads(said)["url"]
            with httpx2.Client(base_url=url, trust_env=False, timeout=60) as http:
                health, ready = http.get("/health"), http.get("/ready")
                elsewhere = http.get("/api/v1/tasks")
                stranger = http.get("/gateway/openai/v1/models")
        done = shown(task)
        calls = sandbox.run("call", "list", "--task", task, "--json").json
        said_first = sandbox.run("call", "show", calls[-1]["request_id"]).out
        spent = sandbox.run("usage", "--by", "task", "--task", task, "--json").json["rows"]

    assert done["status"] == "completed", done
    assert [(row["tokens_in"], row["tokens_out"]) for row in spent] == [(200, 40)]
    assert len(calls) == 2
    assert "Make it" in said_first
    assert "write_file" in said_first
    assert (health.status_code, ready.status_code) == (200, 200)
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "route_unknown")
    assert stranger.status_code == 401


def test_without_the_servers_key_it_does_not_start(sandbox: Sandbox):
    refused = sandbox.run("gateway", "--port", "0", "--json")

    assert refused.exit_code == 2
    assert "AGENTVINE_SECRET_KEY" in refused.problem["detail"]
    assert not (sandbox.data_dir / "secret.key").exists()

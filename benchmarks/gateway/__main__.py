"""Calls to models through the gateway with durable budgets, beside LiteLLM, as a Markdown table."""

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from agentvine.config.settings import DatabaseSettings, QueueSettings, normalise_database_url
from agentvine.db.session import Database
from agentvine.kit.clock import SystemClock
from agentvine.reactions.routing import build_reactions
from agentvine.server.migrations import migration_runner
from benchmarks.queue.cost import cpu_of, postmaster_of
from tests.support.gateway import make_run
from tests.support.postgres import start_postgres

LITELLM = "litellm[proxy]==1.106.2"
_START_SECONDS = 240
_OURS = "/gateway/anthropic/v1/messages"
_COLUMNS = (
    "whole, 16: calls/s",
    "streamed, 16: calls/s",
    "whole, 1: ms",
    "streamed, 1: ms",
    "whole: CPU, ms",
    "streamed: CPU, ms",
)


@dataclass(frozen=True)
class System:
    """Something to send calls to."""

    name: str
    port: int
    path: str
    key: str = "none"
    processes: tuple[int, ...] = ()
    """What serves it, and its database: whose CPU a call costs."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="For one measurement.")
    parser.add_argument("--rounds", type=int, default=3, help="Systems take turns so often.")
    parser.add_argument("--without-litellm", action="store_true")
    parser.add_argument("--out", type=Path, help="Also write the table here.")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentvine-bench-")))
        systems = _start(stack, folder, with_litellm=not options.without_litellm)
        table = _measure(systems, options.seconds, options.rounds)
    print(table)
    if options.out:
        options.out.write_text(table + "\n")


def _start(stack: contextlib.ExitStack, folder: Path, *, with_litellm: bool) -> list[System]:
    upstream = _free_port()
    app = ["-m", "uvicorn", "benchmarks.gateway.upstream:app", "--log-level", "error"]
    _run(stack, [sys.executable, *app, "--no-access-log", "--port", str(upstream)])
    url = f"http://127.0.0.1:{upstream}"
    server = start_postgres()
    stack.callback(server.stop)
    server.create_database("bench", None)
    postmaster = asyncio.run(_postmaster(server.url("bench")))
    systems = [System("direct", upstream, "/v1/messages")]
    for name, database, more in (
        ("ours without budgets", f"sqlite:///{folder}/none.db", ("--without-budgets",)),
        ("ours, budgets in SQLite", f"sqlite:///{folder}/bench.db", ()),
        ("ours, budgets in PostgreSQL", server.url("bench"), ()),
    ):
        key = asyncio.run(_prepare(database))
        port = _free_port()
        arguments = ["--database", database, "--upstream", url, "--port", str(port), *more]
        served = _run(stack, [sys.executable, "-m", "benchmarks.gateway.ours", *arguments])
        processes = (served, postmaster) if "PostgreSQL" in name else (served,)
        systems.append(System(name, port, _OURS, key, processes))
    if with_litellm:
        systems.append(_start_litellm(stack, folder, url))
    for system in systems:
        _wait_for(system.port)
    return systems


def _start_litellm(stack: contextlib.ExitStack, folder: Path, url: str) -> System:
    key, port = f"sk-{secrets.token_hex(16)}", _free_port()
    config = folder / "litellm.yaml"
    model = {
        "model_name": "claude-sonnet-4-5",
        "litellm_params": {
            "model": "anthropic/claude-sonnet-4-5",
            "api_base": url,
            "api_key": "sk-x",
        },
    }
    settings = {"num_retries": 0, "telemetry": False, "drop_params": True}
    # JSON is YAML, too.
    config.write_text(
        json.dumps(
            {
                "model_list": [model],
                "litellm_settings": settings,
                "general_settings": {"master_key": key},
            }
        )
    )
    tool = shutil.which("uv") or "uv"
    command = [tool, "tool", "run", "--from", LITELLM, "litellm", "--config", str(config)]
    environment = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    more = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    served = _run(stack, [*command, *more], **environment)
    return System("LiteLLM 1.106.2, no database", port, "/v1/messages", key, (served,))


async def _postmaster(url: str) -> int:
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return await postmaster_of(connection)
    finally:
        await connection.close()


async def _prepare(url: str) -> str:
    """A database with a run and budgets that never run out; the run's key."""
    settings = DatabaseSettings(url=normalise_database_url(url))
    await migration_runner(settings).setup()
    database = await Database.open(settings, SystemClock(), build_reactions(QueueSettings()))
    run = await make_run(database, budget_usd="99999999")
    await run.budget("99999999")
    await run.budget("99999999", period="monthly")
    await database.close()
    return run.key


def _measure(systems: list[System], seconds: float, rounds: int) -> str:
    what = f"{os.cpu_count()} cores shared by all; medians of {rounds} rounds of {seconds:g} s"
    lines = [
        f"Calls of Anthropic Messages, {what}, the systems in turn.",
        "",
        f"| System | {' | '.join(_COLUMNS)} |",
        f"| --- |{' ---: |' * len(_COLUMNS)}",
    ]
    shapes = [(False, 16), (True, 16), (False, 1), (True, 1)]
    found: dict[tuple[str, bool, int], list[dict[str, float]]] = {}
    for system in systems:
        _load(system, is_streamed=True, connections=8, seconds=2.0)  # warm
    for _ in range(rounds):
        for is_streamed, connections in shapes:
            for system in systems:
                told = _load(system, is_streamed, connections, seconds)
                found.setdefault((system.name, is_streamed, connections), []).append(told)
    for system in systems:
        cells: list[str] = []
        for is_streamed, connections in shapes:
            all_told = found[system.name, is_streamed, connections]
            name = "per_second" if connections > 1 else "p50_ms"
            value = statistics.median(told[name] for told in all_told)
            cells.append(f"{value:,.0f}" if connections > 1 else f"{value:.2f}")
        for is_streamed, connections in shapes[:2]:
            spent = [told["cpu_ms"] for told in found[system.name, is_streamed, connections]]
            cells.append(f"{statistics.median(spent):.2f}" if system.processes else "")
        lines.append(f"| {system.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _load(system: System, is_streamed: bool, connections: int, seconds: float) -> dict[str, float]:
    arguments = ["--port", str(system.port), "--path", system.path, "--key", system.key]
    arguments += ["--connections", str(connections), "--seconds", str(seconds)]
    arguments += ["--stream"] if is_streamed else []
    before = cpu_of(*system.processes)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gateway.load", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{system.name}: {done.stderr[-500:]}")
    told: dict[str, float] = json.loads(done.stdout)
    spent = cpu_of(*system.processes) - before
    return told | {"cpu_ms": spent / told["calls"] * 1000}


def _run(stack: contextlib.ExitStack, command: list[str], **environment: str) -> int:
    """Start a process; its id."""
    process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.DEVNULL)
    stack.callback(_stop, process)
    return process.pid


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int) -> None:
    for _ in _seconds(_START_SECONDS):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
    raise SystemExit(f"Nothing listens on port {port}.")


def _seconds(count: int) -> Iterator[int]:
    for number in range(count):
        yield number
        time.sleep(1)


if __name__ == "__main__":
    main()

"""A worker offers what is installed while it works, and gives up nothing that it holds for it."""

import os
from pathlib import Path

import pytest

from tests.support.gateway import until_so
from tests.worker.conftest import StartWorker
from tests.worker.support.wire_server import WireServer


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first on PATH, and nobody's login."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def install(folder: Path, version: str) -> None:
    """Put a program into its place at once, as package managers do."""
    program = folder / "claude.new"
    program.write_text(f"#!/bin/sh\necho {version} '(Claude Code)'\n")
    program.chmod(0o755)
    program.rename(folder / "claude")


async def test_a_program_installed_later_is_offered_and_a_run_goes_on_meanwhile(
    server: WireServer, start_worker: StartWorker, programs: Path, tmp_path: Path
):
    gate = tmp_path / "gate"
    order = server.add(command=f"while [ ! -e '{gate}' ]; do sleep 0.05; done; echo done > a.txt")

    async with start_worker(look_seconds=0.1, concurrency=2):
        await until_so(lambda: order.fence > 0 and bool(order.phases))
        assert "claude-code" not in server.registrations[-1].runtimes

        install(programs, "2.1.330")
        await until_so(lambda: "claude-code" in server.registrations[-1].runtimes)
        first = version_told(server)
        held = server.registrations[-1].held

        install(programs, "2.2.0")
        await until_so(lambda: version_told(server) == "2.2.0")
        gate.touch()
        await until_so(lambda: order.is_done)

    assert first == "2.1.330"
    assert held == order.executions, "what it holds stays its own"
    assert len({each.session_id for each in server.registrations}) == 1
    assert order.complete is not None


async def test_nothing_is_told_again_where_nothing_has_changed(
    server: WireServer, start_worker: StartWorker, programs: Path
):
    install(programs, "2.1.330")
    order = server.add(command="sleep 1; echo done > a.txt")

    async with start_worker(look_seconds=0.01):
        await until_so(lambda: order.is_done)

    assert len(server.registrations) == 1


def version_told(server: WireServer) -> str | None:
    reports = server.registrations[-1].runtime_reports or ()
    return next((each.version for each in reports if each.name == "claude-code"), None)

"""A worker listens nowhere: it needs a way out by HTTPS, and that may be a proxy."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from agentvine.kit.process.table import process_table
from tests.support.http import serve
from tests.support.repositories import Repo
from tests.support.tls import make_certificates, running_proxy
from tests.worker.conftest import SpawnWorker
from tests.worker.support.wire_server import WireServer, source_of

NAME = "agentvine.test"
_LISTENS = "0A"


def listening(pid: int) -> set[str]:
    """The addresses on which a process or one of its children listens."""
    table = process_table()
    family = {pid}
    while more := {row.id.pid for row in table.values() if row.parent_pid in family} - family:
        family |= more
    found: set[str] = set()
    for member in family:
        sockets = {f"socket:[{inode}]": place for inode, place in _listeners(member)}
        found |= {sockets[link] for link in _links(member) if link in sockets}
    return found


def _links(pid: int) -> list[str]:
    try:
        return [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir()]
    except FileNotFoundError:
        return []  # it has just ended


def _listeners(pid: int) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for kind in ("tcp", "tcp6"):
        path = Path(f"/proc/{pid}/net/{kind}")
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        fields = [line.split() for line in lines]
        rows += [(field[9], field[1]) for field in fields if field[3] == _LISTENS]
    return rows


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_worker_needs_only_outbound_https(
    server: WireServer,
    repo: Repo,
    tmp_path: Path,
    spawn_worker: SpawnWorker,
    monkeypatch: pytest.MonkeyPatch,
):
    for name in ("https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    certificates = make_certificates(tmp_path, NAME)
    go_on = tmp_path / "go on"
    order = server.add(
        repository=source_of(repo.path),
        command=f"echo runs; until test -e '{go_on}'; do sleep 0.1; done; echo x > x.txt",
    )
    with serve(server.app(), certificates=certificates) as url:
        async with running_proxy(httpx2.URL(url).port or 0) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
            process = spawn_worker(server_url=f"https://{NAME}:8443")
            await server.until(lambda: order.logs.get("stdout") == ["runs"], seconds=120)
            assert listening(process.pid) == set()
            go_on.touch()
            await server.until(lambda: order.is_done, seconds=120)
            assert order.complete is not None
            assert order.bundle is not None
            assert {*proxy.asked_for} == {f"CONNECT {NAME}:8443"}
            process.terminate()
            await asyncio.to_thread(process.wait, 60)

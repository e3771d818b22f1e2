"""The client goes through a proxy where one is set, and trusts the authorities it is told to."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from agentvine.client import Client
from agentvine.client.errors import ServerUnreachable
from agentvine.client.transport import NO_RETRIES
from tests.support.http import serve
from tests.support.tls import Certificates, make_certificates, running_proxy

NAME = "agentvine.test"


@pytest.fixture
def certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Certificates:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    return make_certificates(tmp_path, NAME, "localhost")


@pytest.fixture
def port(certificates: Certificates) -> Iterator[int]:
    """Where a server speaks TLS and says that it lives."""

    async def health(_request: object) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    app = Starlette(routes=[Route("/health", health)])
    with serve(app, certificates=certificates) as url:
        yield httpx2.URL(url).port or 0


async def test_a_server_is_reached_through_a_proxy_that_alone_knows_its_name(
    port: int, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
):
    async with running_proxy(port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        async with Client(f"https://{NAME}:8443", retry=NO_RETRIES) as client:
            assert await client.health() == {"status": "ok"}
        assert proxy.asked_for == [f"CONNECT {NAME}:8443"]


async def test_an_authority_nobody_named_is_not_trusted(
    port: int, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
):
    async with running_proxy(port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with Client(f"https://{NAME}:8443", retry=NO_RETRIES) as client:
            with pytest.raises(ServerUnreachable, match="certificate"):
                await client.health()


async def test_a_server_on_this_machine_is_asked_directly_and_its_authority_trusted(
    port: int, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
):
    async with running_proxy(port) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.authority))
        async with Client(f"https://localhost:{port}", retry=NO_RETRIES) as client:
            assert await client.health() == {"status": "ok"}
        assert proxy.asked_for == []

"""The egress proxy: who gets through, and who only looks as if."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agentvine.protocol.runs import SandboxNetwork, SandboxPolicy
from agentvine.runtimes.command.driver import CommandRuntime
from agentvine.runtimes.sandbox import Sandbox, SandboxUnavailable, doors_to, find_bubblewrap
from agentvine.runtimes.sandbox.client_hello import NotTls, needed_bytes, server_name
from agentvine.runtimes.sandbox.doors import Door
from agentvine.runtimes.sandbox.egress import AllowList, EgressProxy
from tests.runtimes.conftest import KeptLines, MakeContext

pytestmark = pytest.mark.timeout(60)


class Site:
    """A server on loopback that speaks HTTP, and TLS on another port; it keeps what it was sent."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.port = self.tls_port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.heard.append(head)
            body = b"hello from the site"
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(body)
            writer.write(head + body)
            await writer.drain()
            if b"content-length" in self.heard[0].lower():
                self.heard.append(await reader.read(1000))
        except (OSError, asyncio.IncompleteReadError):
            self.heard.append(b"broken off")
        finally:
            writer.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    async with (
        await asyncio.start_server(site.answer, "127.0.0.1", 0) as plain,
        await asyncio.start_server(site.answer, "127.0.0.1", 0, ssl=context) as secure,
    ):
        site.port = plain.sockets[0].getsockname()[1]
        site.tls_port = secure.sockets[0].getsockname()[1]
        yield site


def certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    path = folder / "site.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@asynccontextmanager
async def proxy_for(
    folder: Path, *patterns: str, tls_port: int = 443
) -> AsyncIterator[tuple[EgressProxy, Path]]:
    proxy = EgressProxy(AllowList(patterns), tls_ports=frozenset({tls_port}))
    path = folder / "p"
    async with proxy.listening(path):
        yield proxy, path


async def say(path: Path, text: str, *, more: bytes = b"") -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(text.encode() + more)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    return answer


async def tunnel(path: Path, target: str, server: str | None) -> bytes:
    """Speak TLS to ``server`` through a tunnel to ``target``."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head:
        writer.close()
        return head
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        await writer.start_tls(context, server_hostname=server)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return await reader.read()
    except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
        return b"cut"
    finally:
        writer.close()


async def test_tls_to_a_host_on_the_list_gets_through(site: Site, tmp_path: Path):
    async with proxy_for(tmp_path, "localhost", tls_port=site.tls_port) as (proxy, path):
        answer = await tunnel(path, f"localhost:{site.tls_port}", "localhost")
    assert answer.endswith(b"hello from the site")
    assert proxy.refused == []


@pytest.mark.parametrize(
    ("target", "server", "problem"),
    [
        ("elsewhere.example:{tls}", "elsewhere.example", "elsewhere.example is not on the allow"),
        # The front is allowed, what is behind it is not.
        ("localhost:{tls}", "elsewhere.example", "localhost asks for elsewhere.example"),
        ("127.0.0.1:{tls}", "localhost", "127.0.0.1 is not on the allow-list"),
        ("localhost:22", "localhost", "port 22 of localhost is not one for TLS"),
        ("sub.localhost:{tls}", "sub.localhost", "sub.localhost is not on the allow-list"),
        ("user@localhost:{tls}", "localhost", "is no address"),
    ],
)
async def test_a_tunnel_elsewhere_is_refused_and_told(
    site: Site, tmp_path: Path, target: str, server: str, problem: str
):
    async with proxy_for(tmp_path, "localhost", tls_port=site.tls_port) as (proxy, path):
        answer = await tunnel(path, target.format(tls=site.tls_port), server)
    assert b"hello" not in answer
    assert site.heard in ([], [b"broken off"])
    assert len(proxy.refused) == 1
    assert problem in proxy.refused[0]


async def test_nothing_but_tls_that_names_its_host_goes_through_a_tunnel(
    site: Site, tmp_path: Path
):
    async with proxy_for(tmp_path, "localhost", tls_port=site.port) as (proxy, path):
        head = f"CONNECT localhost:{site.port} HTTP/1.1\r\n\r\n"
        answer = await say(path, head, more=b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert b"hello" not in answer
        assert site.heard == []
        assert "does not begin with TLS" in proxy.refused[0]


async def test_plain_http_to_a_host_on_the_list_gets_through_once(site: Site, tmp_path: Path):
    async with proxy_for(tmp_path, "localhost") as (_, path):
        request = (
            f"POST http://localhost:{site.port}/a?b=c HTTP/1.1\r\n"
            f"Host: localhost:{site.port}\r\nContent-Length: 2\r\n"
            "Proxy-Connection: keep-alive\r\n\r\n"
        )
        # A second request on the same connection would not be looked at: it must not arrive.
        second = b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n"
        answer = await say(path, request, more=b"ok" + second)
    assert answer.endswith(b"hello from the site")
    assert site.heard[0].startswith(b"POST /a?b=c HTTP/1.1\r\nhost: localhost")
    assert site.heard[1] == b"ok"


@pytest.mark.parametrize(
    ("line", "headers", "problem"),
    [
        ("GET http://evil.example/ HTTP/1.1", "Host: evil.example", "not on the allow-list"),
        ("GET http://localhost:{port}/ HTTP/1.1", "Host: evil.example", "says Host: evil.example"),
        (
            "GET http://localhost:{port}/ HTTP/1.1",
            "Host: localhost:{port}\r\nHost: evil.example",
            "says Host:",
        ),
        ("GET http://localhost:{port}/ HTTP/1.1", "Accept: all", "says Host:"),
        (
            "POST http://localhost:{port}/ HTTP/1.1",
            "Host: localhost:{port}\r\nTransfer-Encoding: chunked",
            "does not tell its length",
        ),
        (
            "POST http://localhost:{port}/ HTTP/1.1",
            "Host: localhost:{port}\r\nContent-Length: 1\r\nContent-Length: 2",
            "two lengths",
        ),
        ("GET http://localhost:{port}/ HTTP/1.1", "Host: a\r\n b", "several lines"),
        ("GET / HTTP/1.1", "Host: localhost:{port}", "no request to a proxy"),
        ("GET file:///etc/passwd HTTP/1.1", "Host: localhost", "no request to a proxy"),
    ],
)
async def test_a_request_that_says_two_things_is_refused(
    site: Site, tmp_path: Path, line: str, headers: str, problem: str
):
    async with proxy_for(tmp_path, "localhost") as (proxy, path):
        answer = await say(path, f"{line}\r\n{headers}\r\n\r\n".format(port=site.port))
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert problem in proxy.refused[0]
    assert site.heard == []


async def test_a_door_is_reached_in_every_way_and_its_neighbours_are_not(
    site: Site, tmp_path: Path
):
    proxy = EgressProxy(AllowList([]), doors=frozenset({Door("localhost", site.port)}))
    path = tmp_path / "p"
    request = f"GET {{}}/ HTTP/1.1\r\nHost: localhost:{site.port}\r\n\r\n"
    tunnelled = f"CONNECT localhost:{site.port} HTTP/1.1\r\n\r\n"
    async with proxy.listening(path):
        forwarded = await say(path, request.format(f"http://localhost:{site.port}"))
        # Some programs tunnel all that they say to a proxy, be it TLS or not.
        relayed = await say(path, tunnelled, more=request.format("").encode())
        other_port = await tunnel(path, f"localhost:{site.tls_port}", "localhost")
        other_name = await tunnel(path, f"127.0.0.1:{site.port}", None)
    assert forwarded.endswith(b"hello from the site")
    assert relayed.endswith(b"hello from the site")
    assert other_port.startswith(b"HTTP/1.1 403")
    assert other_name.startswith(b"HTTP/1.1 403")


def test_doors_are_the_hosts_and_ports_of_addresses():
    found = doors_to(
        ["http://127.0.0.1:8765/gateway", "https://AV.example/mcp", "https://av.example/gateway"]
    )
    assert found == {Door("127.0.0.1", 8765), Door("av.example", 443)}
    assert [door.is_direct for door in sorted(found)] == [True, False]
    assert not Door("::1", 8765).is_direct, "the bridge listens on IPv4's loopback alone"
    assert not Door("127.0.0.1", 80).is_direct, "nobody may listen there without privileges"


async def test_a_whole_domain_does_not_open_the_private_network(site: Site, tmp_path: Path):
    # Names below localhost lead to loopback, by the standard and by the system's resolver.
    async with proxy_for(tmp_path, "*.localhost") as (proxy, path):
        host = f"a.localhost:{site.port}"
        answer = await say(path, f"GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert b"hello" not in answer
    assert site.heard == []
    assert not proxy.refused or "private network" in proxy.refused[0]


def test_patterns_match_whole_labels():
    allowed = AllowList(["api.example.com", "*.cdn.example"])
    assert allowed.allows("api.example.com")
    assert allowed.allows("a.b.cdn.example")
    for host in ("example.com", "xapi.example.com", "cdn.example", "evilcdn.example", ""):
        assert not allowed.allows(host), host


@pytest.mark.parametrize("cut", range(0, 500, 7))
def test_half_a_greeting_is_none(cut: int):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname="Some.Example")
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    hello = outgoing.read()
    assert needed_bytes(hello) == len(hello)
    assert server_name(hello) == "some.example"
    if cut < len(hello):
        with pytest.raises(NotTls):
            server_name(hello[:cut])


async def test_a_sandboxed_program_gets_out_through_the_proxy_alone(
    site: Site, make_context: MakeContext, sink: KeptLines
):
    script = (
        "import urllib.request, urllib.error\n"
        "def get(url):\n"
        "    try: return urllib.request.urlopen(url, timeout=20).read().decode()\n"
        "    except urllib.error.HTTPError as error: return f'{error.code}'\n"
        f"print(get('http://localhost:{site.port}/'))\n"
        "print(get('http://elsewhere.example/'))\n"
    )
    try:
        bubblewrap = await find_bubblewrap()
    except SandboxUnavailable as error:
        assert "bwrap" in error.detail  # noqa: PT017 - the refusal is what this machine can show
        return
    context = make_context("python3 get.py")
    (context.worktree / "get.py").write_text(script)
    policy = SandboxPolicy(network=SandboxNetwork.ALLOW_LIST, allowed_hosts=["localhost"])
    sandbox = Sandbox(bubblewrap=bubblewrap, policy=policy, worktree=context.worktree)
    outcome = await CommandRuntime().run(make_context("python3 get.py", sandbox=sandbox))
    assert outcome.is_success, sink.lines
    assert sink.of("stdout") == ["hello from the site", "403"]
    assert sink.of("system") == ["Not let out: elsewhere.example is not on the allow-list."]

"""The only way out of a sandbox: a proxy on a Unix socket that knows which hosts may be reached.

It takes ``CONNECT host:port`` for TLS, and plain HTTP requests with a whole address. The name is
looked up here, never inside. What is asked for, what the allow-list has, and what the connection
then says (TLS's server name, HTTP's Host) must be one and the same, so a host that is allowed
cannot be the front of one that is not. What goes on inside TLS stays hidden from us, too: a Host
header in there that names another site of the same provider is beyond this proxy.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from agentvine.runtimes.sandbox.client_hello import NotTls, needed_bytes, server_name
from agentvine.runtimes.sandbox.doors import Door
from agentvine.runtimes.sandbox.relaying import relay, relay_both, relay_some, serving

_MAX_CONNECTIONS = 256
_HEAD_SECONDS = 30.0
_CONNECT_SECONDS = 30.0
_TLS_PORTS = frozenset({443, 8443})
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

log = structlog.get_logger(__name__)


class Refused(Exception):
    """The request is not let through."""


@dataclass(frozen=True, slots=True)
class AllowList:
    """Which hosts may be reached."""

    patterns: Sequence[str]

    def allows(self, host: str) -> bool:
        """Whether a name may be reached at all."""
        return self.is_named(host) or any(
            pattern.startswith("*.") and host.endswith(pattern[1:].lower())
            for pattern in self.patterns
        )

    def is_named(self, host: str) -> bool:
        """Whether somebody wrote down this very name."""
        return any(pattern.lower() == host for pattern in self.patterns)


@dataclass(slots=True)
class EgressProxy:
    """The proxy of one run."""

    allowed: AllowList
    tls_ports: frozenset[int] = _TLS_PORTS
    doors: frozenset[Door] = frozenset()
    """Servers that may be reached whatever the list says, by TLS or without."""
    refused: list[str] = field(default_factory=list[str])
    """What was asked for and not let through, for the run's log; the first hundred."""
    _connections: int = 0

    def listening(self, path: Path) -> AbstractAsyncContextManager[None]:
        """Serve on a Unix socket for the length of the block."""
        return serving(path, self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._connections >= _MAX_CONNECTIONS:
            writer.close()
            return
        self._connections += 1
        try:
            await self._answer(reader, writer)
        except Refused as refused:
            self._note(str(refused))
            await _say(writer, "403 Forbidden", str(refused))
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as e:
            await _say(writer, "502 Bad Gateway", f"The other side did not answer: {e}")
        finally:
            self._connections -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, _, rest = lines[0].partition(" ")
        target = rest.partition(" ")[0]
        if method == "CONNECT":
            await self._tunnel(reader, writer, target)
        else:
            await self._forward(reader, writer, method, target, lines[1:-2])

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str
    ) -> None:
        host, port = _host_and_port(f"//{target}", 443)
        is_door = Door(host, port) in self.doors
        if port not in self.tls_ports and not is_door:
            raise Refused(f"port {port} of {host} is not one for TLS")
        self._check(host, port)
        writer.write(_ESTABLISHED)
        await writer.drain()
        if is_door:
            await relay_both(reader, writer, *await self._open(host, port))
            return
        # Nothing goes out before the connection itself has named the same host.
        async with asyncio.timeout(_HEAD_SECONDS):
            hello = await _read_hello(reader, host)
        upstream = await self._open(host, port)
        upstream[1].write(hello)
        await relay_both(reader, writer, *upstream)

    async def _forward(  # the parts of one request
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        target: str,
        headers: list[str],
    ) -> None:
        if not target.lower().startswith("http://"):
            raise Refused(f"{method} {target[:200]} is no request to a proxy")
        host, port = _host_and_port(target, 80)
        self._check(host, port)
        fields = [(name.strip().lower(), value.strip()) for name, _, value in _split(headers)]
        hosts = [value for name, value in fields if name == "host"]
        if len(hosts) != 1 or _host_and_port(f"//{hosts[0]}", 80) != (host, port):
            raise Refused(f"the request to {host} says Host: {', '.join(hosts)[:200]}")
        if any(name == "transfer-encoding" for name, _ in fields):
            raise Refused(f"the request to {host} does not tell its length")
        lengths = {value for name, value in fields if name == "content-length"}
        if len(lengths) > 1 or not all(value.isdigit() for value in lengths):
            raise Refused(f"the request to {host} tells two lengths")
        parts = urlsplit(target)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        kept = [
            f"{name}: {value}"
            for name, value in fields
            if name not in {"connection", "proxy-connection", "proxy-authorization", "keep-alive"}
        ]
        source, sink = await self._open(host, port)
        # One request and no more: a second one on this connection would not be looked at.
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *kept, "connection: close", "", ""])
        sink.write(head.encode("latin-1"))
        up = asyncio.create_task(relay_some(reader, sink, int(next(iter(lengths), "0"))))
        try:
            await relay(source, writer)
        finally:
            up.cancel()
            sink.close()

    def _check(self, host: str, port: int) -> None:
        if Door(host, port) not in self.doors and not self.allowed.allows(host):
            raise Refused(f"{host} is not on the allow-list")

    async def _open(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for *_, address in found:
            inner = ipaddress.ip_address(str(address[0]).partition("%")[0])
            # Who writes a name down knows where it leads; a whole domain may lead anywhere.
            is_meant = self.allowed.is_named(host) or Door(host, port) in self.doors
            if not inner.is_global and not is_meant:
                raise Refused(f"{host} leads into the private network")
        async with asyncio.timeout(_CONNECT_SECONDS):
            return await asyncio.open_connection(str(found[0][4][0]), port)

    def _note(self, problem: str) -> None:
        log.info("egress.refused", problem=problem)
        if len(self.refused) < 100:
            self.refused.append(problem)


def _split(headers: list[str]) -> list[tuple[str, str, str]]:
    if any(line[:1] in {" ", "\t"} or ":" not in line for line in headers):
        raise Refused("a header goes on over several lines")
    return [line.partition(":") for line in headers]


def _host_and_port(target: str, default: int) -> tuple[str, int]:
    try:
        parts = urlsplit(target)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Refused(f"{target[:200]} is no address") from error
    if not host or parts.username is not None:
        raise Refused(f"{target[:200]} is no address")
    return host.rstrip(".").lower(), port or default


async def _read_hello(reader: asyncio.StreamReader, host: str) -> bytes:
    try:
        start = await reader.readexactly(5)
        record = start + await reader.readexactly(needed_bytes(start) - 5)
        named = server_name(record)
    except NotTls:
        raise Refused(f"the connection to {host} does not begin with TLS that names it") from None
    if named.rstrip(".") != host:
        raise Refused(f"the connection to {host} asks for {named[:200]}")
    return record


async def _say(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = f"{text}\n".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        writer.write(head.encode() + body)
        await writer.drain()

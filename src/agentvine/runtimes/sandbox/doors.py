"""Ways from inside a sandbox to one server: where a run's agent finds its model and its tools.

A server on this machine is reached at its own address: inside, the bridge listens on the same
port of loopback and leads to a Unix socket, from which this relays. A server elsewhere is reached
by the egress proxy, whatever else the policy allows.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from agentvine.runtimes.sandbox.relaying import relay_both, serving

_CONNECT_SECONDS = 30.0
_PORTS = {"http": 80, "https": 443}
_FIRST_FREE_PORT = 1024
"""Below it nobody listens without privileges, and nobody has them inside."""


@dataclass(frozen=True, slots=True, order=True)
class Door:
    """A server that may be reached."""

    host: str
    port: int

    @property
    def is_direct(self) -> bool:
        """Whether it is on this machine, at an address that the sandbox's loopback has, too."""
        return self.port >= _FIRST_FREE_PORT and (self.host == "localhost" or _is_v4(self.host))

    def listening(self, path: Path) -> AbstractAsyncContextManager[None]:
        """Relay from a Unix socket to it for the length of the block."""
        return serving(path, self._relay)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # A server that is not there closes the connection, as it would without a sandbox.
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    inner = await asyncio.open_connection(self.host, self.port)
                await relay_both(reader, writer, *inner)
        finally:
            writer.close()


def doors_to(urls: Iterable[str]) -> frozenset[Door]:
    """The doors that lead to these addresses."""
    found: set[Door] = set()
    for url in urls:
        parts = urlsplit(url)
        if parts.hostname:
            found.add(Door(parts.hostname.lower(), parts.port or _PORTS.get(parts.scheme, 80)))
    return frozenset(found)


def _is_v4(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.version == 4 and address.is_loopback

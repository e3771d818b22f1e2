"""To which addresses the server sends a provider's key, and to which it does not.

Who may name an address in a private network is decided when a provider is made; whether a name
leads into one is decided when it is called, on the very address that is then connected to.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from agentvine.domains.gateway.enums import ProviderKind
from agentvine.domains.gateway.errors import ProviderAddressForbidden

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_URLS = {
    ProviderKind.ANTHROPIC: "https://api.anthropic.com",
    ProviderKind.OPENAI: "https://api.openai.com/v1",
    ProviderKind.GEMINI: "https://generativelanguage.googleapis.com",
}
_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_METADATA = {
    ipaddress.ip_address(text) for text in ("169.254.169.254", "fd00:ec2::254", "100.100.100.200")
}
"""Where clouds hand out a machine's own credentials."""
_RESOLVE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a call goes, looked up once."""

    scheme: str
    host: str
    """As the certificate and the request name it."""
    port: int
    addresses: tuple[IpAddress, ...]
    """Connect to one of these and to nothing else."""


def check_base_url(url: str, *, may_be_private: bool) -> str:
    """The address without a slash at its end, as far as it can be judged without a look-up.

    Raises:
        ProviderAddressForbidden: It is no plain address, or one that may not be called.
    """
    scheme, host, _ = _parts(url)
    if scheme == "http" and not may_be_private:
        raise ProviderAddressForbidden(
            "Use https: a key sent over plain http is anybody's. (In a private network an admin "
            "may name an http address.)"
        )
    if (literal := _literal(host)) is not None:
        _check(literal, host, may_be_private=may_be_private)
    elif _is_local_name(host) and not may_be_private:
        raise ProviderAddressForbidden(_private_text(host))
    return url.rstrip("/")


async def resolve(url: str, *, may_be_private: bool) -> Destination:
    """Look an address up, once; not inside a transaction.

    Raises:
        ProviderAddressForbidden: The name leads nowhere, or to where it may not.
    """
    scheme, host, port = _parts(url)
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            found = await asyncio.get_running_loop().getaddrinfo(
                host, port, type=socket.SOCK_STREAM
            )
    except (OSError, TimeoutError) as error:
        raise ProviderAddressForbidden(f"The name {host} leads to no address.") from error
    addresses = tuple(dict.fromkeys(ipaddress.ip_address(entry[4][0]) for entry in found))
    for address in addresses:
        is_private = _check(address, host, may_be_private=may_be_private)
        if scheme == "http" and not is_private:
            raise ProviderAddressForbidden(f"{host} is a public address: use https.")
    return Destination(scheme, host, port, addresses)


def _parts(url: str) -> tuple[str, str, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ProviderAddressForbidden("Write it like https://api.example.org/v1.") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ProviderAddressForbidden("Write it like https://api.example.org/v1.")
    if parts.username is not None or parts.password is not None:
        raise ProviderAddressForbidden("Leave name and password out; a key is added by itself.")
    if parts.query or parts.fragment or not url.isprintable() or " " in url or "\\" in url:
        raise ProviderAddressForbidden("Leave out what follows the path.")
    return parts.scheme, parts.hostname, _PORTS[parts.scheme] if port is None else port


def _literal(host: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_local_name(host: str) -> bool:
    return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


def _check(address: IpAddress, host: str, *, may_be_private: bool) -> bool:
    """Whether it is in a private network; raises where it may not be called."""
    inner = _unwrapped(address)
    if (
        inner in _METADATA
        or inner.is_link_local
        or inner.is_multicast
        or inner.is_unspecified
        or (inner.is_reserved and not inner.is_loopback)
    ):
        raise ProviderAddressForbidden(f"{host} is an address that no provider of models has.")
    if not inner.is_global and not may_be_private:
        raise ProviderAddressForbidden(_private_text(host))
    return not inner.is_global


def _unwrapped(address: IpAddress) -> IpAddress:
    """The address that is meant where one of the other kind stands inside."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _private_text(host: str) -> str:
    return (
        f"{host} is in a private network: an admin may name it, or allow it to owners of projects "
        "with AGENTVINE_PROVIDERS__ALLOW_PRIVATE=true on the server."
    )

"""The HTTP client of the relay: what is passed on to a provider, and what is passed back."""

import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from agentvine.domains.gateway.addresses import resolve
from agentvine.domains.gateway.targets import Target

Headers = Iterable[tuple[bytes, bytes]]

_IPV6 = 6
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 600.0
"""A provider that sends nothing for so long has forgotten us; some think for minutes."""
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_SENT = _HOP_BY_HOP | {
    "accept-encoding",
    "authorization",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "x-api-key",
    "x-goog-api-key",
    "x-real-ip",
    "x-request-id",
}
_NOT_SENT_PREFIXES = ("x-forwarded-", "x-agentvine-", "agentvine-", "sec-")
_NOT_RETURNED = _HOP_BY_HOP | {
    "alt-svc",
    "anthropic-organization-id",
    "authorization",
    "date",
    "openai-organization",
    "openai-project",
    "server",
    "set-cookie",
    "strict-transport-security",
    "x-api-key",
    "x-goog-api-key",
}


@dataclass(slots=True)
class Dialer:
    """Connections to providers, kept open between calls."""

    _sessions: dict[tuple[str, bool], aiohttp.ClientSession] = field(
        default_factory=dict[tuple[str, bool], aiohttp.ClientSession]
    )

    async def post(
        self, target: Target, path: str, query: str, headers: Headers, body: bytes
    ) -> aiohttp.ClientResponse:
        """Ask; returns as soon as the head of an answer is there.

        Raises:
            aiohttp.ClientError: Nobody answers.
            TimeoutError: Nobody answers in time.
            ProviderAddressForbidden: The address is one that the server does not call.
        """
        url = f"{target.base_url}{path}{'?' + query if query else ''}"
        return await self._session_for(target).post(
            URL(url, encoded=True),
            data=body,
            headers=_sent_headers(headers, target),
            allow_redirects=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        while self._sessions:
            _, session = self._sessions.popitem()
            await session.close()

    def _session_for(self, target: Target) -> aiohttp.ClientSession:
        rules = (target.base_url.partition(":")[0], target.allows_private)
        session = self._sessions.get(rules)
        if session is None:
            session = self._sessions[rules] = _open_session(*rules)
        return session


class _Resolver(AbstractResolver):
    """Looks names up once, and has no other address connected to than those it has looked at."""

    def __init__(self, scheme: str, *, may_be_private: bool) -> None:
        self._scheme = scheme
        self._may_be_private = may_be_private

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002  # as the library asks
    ) -> list[ResolveResult]:
        url = f"{self._scheme}://{host}:{port}"
        found = await resolve(url, may_be_private=self._may_be_private)
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET6 if address.version == _IPV6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found.addresses
        ]

    async def close(self) -> None:
        """Nothing is kept open."""


def _open_session(scheme: str, may_be_private: bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=60,
            resolver=_Resolver(scheme, may_be_private=may_be_private),
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS
        ),
        skip_auto_headers=("User-Agent", "Accept", "Content-Type"),
    )


def _sent_headers(headers: Headers, target: Target) -> list[tuple[str, str]]:
    given = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]
    dropped = {
        name.strip().lower()
        for key, value in given
        if key == "connection"
        for name in value.split(",")
    }
    sent = [
        (name, value)
        for name, value in given
        if name not in _NOT_SENT and name not in dropped and not name.startswith(_NOT_SENT_PREFIXES)
    ]
    # What is compressed cannot be read as it passes by.
    sent.append(("accept-encoding", "identity"))
    if target.key is not None:
        sent.append(_credential(target.kind, target.key))
    return sent


def _credential(kind: str, key: str) -> tuple[str, str]:
    if kind == "anthropic":
        return "x-api-key", key
    if kind == "gemini":
        return "x-goog-api-key", key
    return "authorization", f"Bearer {key}"


def returned_headers(
    headers: Mapping[str, str], key: str | None, *, is_same_length: bool
) -> list[tuple[bytes, bytes]]:
    """What of a provider's headers is passed back: nothing that is secret or about the connection.

    Args:
        headers: What came.
        key: The provider's key, which some echo.
        is_same_length: Whether the body is passed on byte by byte.
    """
    dropped = set(_NOT_RETURNED)
    if "content-encoding" in headers or not is_same_length:
        dropped |= {"content-encoding", "content-length"}
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in headers.items()
        if name.lower() not in dropped and (key is None or key not in value)
    ]

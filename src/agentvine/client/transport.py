"""Requests and retries: what every area of the client stands on.

Retried are calls that may be repeated: reads, creates with an ``Idempotency-Key``, and messages
whose protocol makes a repeat harmless. Others are retried only when the connection could not be
made at all, so that nothing happens twice.
"""

import asyncio
import ipaddress
import random
import ssl
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

import httpx2
from pydantic import BaseModel, SecretStr, TypeAdapter, ValidationError
from pydantic_core import to_json

from agentvine.client.errors import (
    NotAnAgentVineServer,
    ServerUnreachable,
    error_from_response,
    error_from_transport,
)
from agentvine.kit.errors import AppError, Invalid, LimitReached, Unavailable
from agentvine.kit.ids import random_token
from agentvine.protocol.base import PROTOCOL_HEADER, PROTOCOL_VERSION, check_version

API_PREFIX = "/api/v1"

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

Params = Mapping[str, object]


class ServerUrlInvalid(Invalid):
    """The server's address is not a URL."""

    code = "server_url_invalid"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a repeatable call is tried again."""

    attempts: int = 4
    base_seconds: float = 0.2
    cap_seconds: float = 5.0

    def pause(self, attempt: int, retry_after: float | None) -> float:
        """Seconds to wait after the given attempt (0 is the first): full jitter, growing."""
        if retry_after is not None:
            return min(retry_after, self.cap_seconds)
        # Jitter only spreads clients out; it protects nothing.
        return random.uniform(0.1, 1.0) * min(self.cap_seconds, self.base_seconds * 2.0**attempt)  # noqa: S311


NO_RETRIES = RetryPolicy(attempts=1)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, before it is sent; a path without a leading slash is below ``/api/v1``."""

    method: str
    path: str
    params: Params = field(default_factory=dict[str, object])
    body: BaseModel | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    is_repeatable: bool = False
    read_timeout: float | None = None

    def with_key(self, key: str | None) -> "Call":
        """The same call as a create that may be repeated."""
        headers = {**self.headers, "Idempotency-Key": key or random_token(16)}
        return replace(self, headers=headers, is_repeatable=True)


def get(path: str, params: Params | None = None) -> Call:
    """A read."""
    return Call("GET", path, params=params or {}, is_repeatable=True)


def get_root(name: str) -> Call:
    """A read outside the API, such as ``/health``; asked once, since waiting is the caller's."""
    return Call("GET", f"/{name}")


def post(path: str, body: BaseModel | None = None, *, is_repeatable: bool = False) -> Call:
    """An action or a create."""
    return Call("POST", path, body=body, is_repeatable=is_repeatable)


def send_file(path: str, name: str, content: bytes, type_: str) -> Call:
    """A file, as the body of a request."""
    headers = {"Content-Type": type_}
    return Call("POST", path, params={"name": name}, body=content, headers=headers)


def edit(path: str, body: BaseModel, row_version: int | None) -> Call:
    """An edit, refused when somebody else changed the row since ``row_version``."""
    headers = {} if row_version is None else {"If-Match": f'"{row_version}"'}
    return Call("PATCH", path, body=body, headers=headers)


class Transport:
    """One server, one token, one connection pool."""

    def __init__(
        self,
        base_url: str,
        token: str | SecretStr = "",
        *,
        timeout_seconds: float = 30.0,
        retry: RetryPolicy | None = None,
        max_connections: int = 20,
        network: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        """Prepare; no connection is made before the first call."""
        self.base_url = _checked_url(base_url)
        self.retry = retry or RetryPolicy()
        secret = token.get_secret_value() if isinstance(token, SecretStr) else token
        headers = {PROTOCOL_HEADER: PROTOCOL_VERSION, "Accept": "application/json"}
        if secret:
            headers["Authorization"] = f"Bearer {secret}"
        self.server_minor = 0
        """The minor version of the protocol that the server speaks, once it has answered."""
        self._timeout = httpx2.Timeout(timeout_seconds, connect=min(10.0, timeout_seconds))
        limits = httpx2.Limits(max_connections=max_connections)
        network = network or network_to(self.base_url, limits)
        self._http = httpx2.AsyncClient(
            base_url=self.base_url,
            headers=headers,
            timeout=self._timeout,
            limits=limits,
            transport=network,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def fetch(self, call: Call, out: type[M]) -> M:
        """Send a call and read its answer as a model."""
        return _parse(await self.send(call), TypeAdapter(out))

    async def fetch_as(self, call: Call, adapter: TypeAdapter[T]) -> T:
        """Send a call and read its answer with a type adapter."""
        return _parse(await self.send(call), adapter)

    async def send(self, call: Call) -> httpx2.Response:
        """Send a call, with retries where they are harmless; raises what the server refused.

        Raises:
            ProtocolUnsupported: The server speaks another major version.
            AppError: What it refused, or that it cannot be reached.
        """
        attempt = 0
        while True:
            try:
                return await self._send_once(call)
            except (Unavailable, LimitReached) as error:
                attempt += 1
                if attempt >= self.retry.attempts or not _may_retry(call, error):
                    raise
                await asyncio.sleep(self.retry.pause(attempt - 1, error.retry_after))

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[httpx2.Response]:
        """Send a call once and hand out the open answer; transport errors inside are translated."""
        request = self._request(call)
        response: httpx2.Response | None = None
        try:
            response = await self._http.send(request, stream=True)
            self._note_version(response)
            if response.status_code >= 400:
                await response.aread()
                raise error_from_response(response)
            yield response
        except httpx2.HTTPError as error:
            raise error_from_transport(error, self.base_url) from error
        finally:
            if response is not None:
                await response.aclose()

    async def _send_once(self, call: Call) -> httpx2.Response:
        try:
            response = await self._http.send(self._request(call))
        except httpx2.HTTPError as error:
            raise error_from_transport(error, self.base_url) from error
        self._note_version(response)
        if response.status_code >= 400:
            raise error_from_response(response)
        return response

    def _note_version(self, response: httpx2.Response) -> None:
        told = response.headers.get(PROTOCOL_HEADER, "")
        version = check_version(told, peer="server")
        if version is not None:
            _major, self.server_minor = version

    def _request(self, call: Call) -> httpx2.Request:
        headers = dict(call.headers)
        content: bytes | None = None
        if isinstance(call.body, bytes):
            content = call.body
            headers.setdefault("Content-Type", "application/octet-stream")
        elif call.body is not None:
            content = encode(call.body)
            headers["Content-Type"] = "application/json"
        timeout = self._timeout
        if call.read_timeout is not None:
            timeout = httpx2.Timeout(**{**timeout.as_dict(), "read": call.read_timeout})
        return self._http.build_request(
            call.method,
            call.path if call.path.startswith("/") else f"{API_PREFIX}/{call.path}",
            params=_plain_params(call.params),
            content=content,
            headers=headers,
            timeout=timeout,
        )


def encode(body: BaseModel) -> bytes:
    """A model as JSON, with its secrets readable and without fields nobody set.

    Unset fields stay out, so that a newer client's additions do not upset an older server.
    """
    return to_json(_reveal(body.model_dump(exclude_unset=True)))


def _reveal(value: Any) -> Any:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, dict):
        return {name: _reveal(item) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType]  # JSON edge
    if isinstance(value, list):
        return [_reveal(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # JSON edge
    return value


def _parse(response: httpx2.Response, adapter: TypeAdapter[T]) -> T:
    try:
        return adapter.validate_json(response.content)
    except ValidationError as error:
        url = response.request.url
        raise NotAnAgentVineServer(
            f"{url} answered {response.status_code} with something this client does not understand "
            f"({error.error_count()} problems; first: {error.errors()[0]['msg']}). Check the "
            "server's address and that its version fits this client's.",
            url=str(url),
        ) from error


def _may_retry(call: Call, error: AppError) -> bool:
    if isinstance(error, NotAnAgentVineServer):
        return False
    if isinstance(error, LimitReached):
        # A rate limit names its pause; a budget or a size does not go away by waiting.
        return call.is_repeatable and error.retry_after is not None
    return call.is_repeatable or _was_never_sent(error)


def _was_never_sent(error: AppError) -> bool:
    return isinstance(error, ServerUnreachable) and isinstance(
        error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout
    )


def _plain_params(params: Params) -> dict[str, list[str]]:
    plain: dict[str, list[str]] = {}
    for name, value in params.items():
        if value is None:
            continue
        values = cast("Iterable[object]", value) if isinstance(value, list | tuple) else [value]
        plain[name] = [str(v).lower() if isinstance(v, bool) else str(v) for v in values]
    return plain


def _checked_url(url: str) -> str:
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        parsed = httpx2.URL("")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ServerUrlInvalid(
            f"{url!r} is not an address like http://127.0.0.1:8420; set it with --server or "
            "AGENTVINE_SERVER_URL."
        )
    return url.rstrip("/")


def network_to(url: str, limits: httpx2.Limits | None = None) -> httpx2.AsyncBaseTransport | None:
    """What carries requests to a server; None: what carries all others.

    A proxy set for the outside world must not be asked for the loopback server. A given transport
    asks none; which authorities are trusted the environment still says.
    """
    if not _is_loopback(url):
        return None
    limits = limits or httpx2.Limits()
    if httpx2.URL(url).scheme == "http":
        # Trusts nobody: reading the machine's authorities takes longer than a request does.
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return httpx2.AsyncHTTPTransport(limits=limits, verify=no_tls)
    return httpx2.AsyncHTTPTransport(limits=limits, trust_env=True)


def _is_loopback(url: str) -> bool:
    host = httpx2.URL(url).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

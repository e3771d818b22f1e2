"""Until when a provider takes no more calls with a key, and until when that holds orders up."""

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from agentvine.db.session import ReadSession
from agentvine.domains.gateway.enums import ModelWire
from agentvine.domains.gateway.models import ModelProvider, ProviderCredential
from agentvine.domains.gateway.upstreams import read_keys

_REST_SECONDS = 30.0
"""How long a key rests after a limit whose end the provider did not tell."""
_MAX_REST_SECONDS = 7 * 24 * 3600.0
UNTOLD = "the provider's limit is reached, and it does not say until when"
TOLD = "the provider's limit is reached"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_RETRY_INFO = re.compile(rb'"retryDelay"\s*:\s*"([\d.]+s)"')
_WINDOWS = ("requests", "tokens", "input-tokens", "output-tokens")


@dataclass(frozen=True, slots=True)
class ProviderLimits:
    """What orders wait for, when all keys that could serve them have reached their limits."""

    async def lifted_at(
        self, read: ReadSession, project_id: uuid.UUID, now: datetime
    ) -> datetime | None:
        """When the first key is good again; None: some key is, or a provider did not tell."""
        ends: list[datetime] = []
        for wire in ModelWire:
            for group in _groups(await read_keys(read, project_id, wire)):
                limits = [limit for limit in map(_limit, group) if limit and limit[0] > now]
                if any(reason == UNTOLD for _, reason in limits):
                    return None
                if len(limits) == len(group):
                    ends.append(min(until for until, _ in limits))
        return min(ends, default=None)


def first_lifted(keys: Sequence[ProviderCredential | None], now: datetime) -> datetime | None:
    """When the first of some keys is good again; None: one is, or a provider did not tell."""
    limits = [limit for limit in map(_limit, keys) if limit and limit[0] > now]
    if len(limits) < len(keys) or any(reason == UNTOLD for _, reason in limits):
        return None
    return min((until for until, _ in limits), default=None)


def limit_of(headers: Mapping[str, str], body: bytes, now: datetime) -> tuple[float, str]:
    """How long a provider takes no more calls, by its own word, and in our words why.

    What it says of this call counts before what it says of its windows, whose end is that of the
    last call which a full window had.
    """
    seconds = _told(headers, body, now)
    if seconds is None:
        return _REST_SECONDS, UNTOLD
    return min(max(seconds, 1.0), _MAX_REST_SECONDS), TOLD


def _told(headers: Mapping[str, str], body: bytes, now: datetime) -> float | None:
    for text in (f"{headers.get('retry-after-ms', '')}ms", headers.get("retry-after", "")):
        if (seconds := _seconds(text, now)) is not None:
            return seconds
    # The window of a subscription, in seconds since 1970.
    unified = headers.get("anthropic-ratelimit-unified-reset", "")
    if unified.isdecimal():
        return int(unified) - now.timestamp()
    if (found := _RETRY_INFO.search(body)) is not None:
        return _seconds(found[1].decode(), now)
    return max(_full_windows(headers, now), default=None)


def _full_windows(headers: Mapping[str, str], now: datetime) -> Iterable[float]:
    for form in ("anthropic-ratelimit-{}-{}", "x-ratelimit-{1}-{0}"):
        for window in _WINDOWS:
            if headers.get(form.format(window, "remaining"), "") == "0":
                seconds = _seconds(headers.get(form.format(window, "reset"), ""), now)
                if seconds is not None:
                    yield seconds


def _seconds(text: str, now: datetime) -> float | None:
    """A number of seconds, a span like ``6m0s``, or the time until a date."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    spans = _SPAN.findall(text)
    if spans and "".join(number + unit for number, unit in spans) == text:
        return sum(float(number) * _UNITS[unit] for number, unit in spans)
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            until = read(text)
        except ValueError:
            continue
        return (until.replace(tzinfo=until.tzinfo or UTC) - now) / timedelta(seconds=1)
    return None


def _limit(key: ProviderCredential | None) -> tuple[datetime, str | None] | None:
    if key is None or key.limited_until is None:
        return None
    return key.limited_until, key.limit_reason


def _groups(
    rows: Iterable[tuple[ModelProvider, ProviderCredential | None]],
) -> list[list[ProviderCredential | None]]:
    """Keys that stand in for one another: a provider that names its models serves these alone."""
    groups: dict[uuid.UUID | None, list[ProviderCredential | None]] = {}
    for provider, key in rows:
        groups.setdefault(provider.id if provider.models else None, []).append(key)
    return list(groups.values())

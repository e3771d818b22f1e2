"""Values for people's eyes; machines get them unformatted, as JSON."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

_UNITS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "m"))


def fmt_age(when: datetime | None, now: datetime) -> str:
    """How long ago, or in how long: ``3m ago``, ``in 2h``, ``now``."""
    if when is None:
        return "-"
    seconds = (now - when).total_seconds()
    if abs(seconds) < 1:
        return "now"
    amount = _largest_unit(abs(seconds))
    return f"{amount} ago" if seconds > 0 else f"in {amount}"


def fmt_duration(seconds: float | None) -> str:
    """``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def fmt_took(began: datetime, ended: datetime | None) -> str:
    """The time between two moments; a dash while it goes on."""
    return fmt_duration((ended - began).total_seconds() if ended is not None else None)


def fmt_bytes(count: int | None) -> str:
    """``512 B``, ``1.4 MiB``."""
    if count is None:
        return "-"
    size = float(count)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def fmt_count(count: int, singular: str, plural: str | None = None) -> str:
    """``1 file``, ``3 files``."""
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


def fmt_diff_stat(stat: Mapping[str, Any]) -> str:
    """``3 files changed, 12 insertions(+), 4 deletions(-)``."""
    files, added, removed = (int(stat.get(key) or 0) for key in ("files", "added", "removed"))
    if not files:
        return "nothing changed"
    return (
        f"{fmt_count(files, 'file')} changed, {fmt_count(added, 'insertion')}(+), "
        f"{fmt_count(removed, 'deletion')}(-)"
    )


def fmt_tests(results: Mapping[str, Any]) -> str:
    """``12 tests passed in 0.8 s``, ``2 of 12 tests failed``, ``passed (exit code 0)``."""
    if not results:
        return "none were run"
    took = fmt_duration(results.get("duration_seconds"))
    total = results.get("total")
    if not total:
        word = "passed" if results.get("passed") else "failed"
        return f"{word} in {took} (exit code {results.get('exit_code')})"
    bad = int(results.get("failures") or 0) + int(results.get("errors") or 0)
    if bad:
        return f"{bad} of {fmt_count(total, 'test')} failed, in {took}"
    return f"{fmt_count(total, 'test')} passed in {took}"


def fmt_words(words: Sequence[str], nothing: str = "-") -> str:
    """``a, b, c``."""
    return ", ".join(words) or nothing


def _largest_unit(seconds: float) -> str:
    for size, letter in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)}{letter}"
    return f"{int(seconds)}s"


def failed_cases(results: dict[str, Any]) -> list[str]:
    """The tests that did not pass, by name."""
    cases: list[dict[str, Any]] = results.get("failed_cases") or []
    return [f"{case.get('name')} ({case.get('outcome')})" for case in cases]

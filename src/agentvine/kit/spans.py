"""Lengths of time in words people say."""

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86_400.0


def roughly(seconds: float) -> str:
    """About how long: ``a few seconds``, ``about 40 seconds``, ``about an hour``, ..."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 55:
        return f"about {round(seconds, -1):.0f} seconds"
    for unit, name, article, limit in (
        (_MINUTE, "minute", "a", 55 * _MINUTE),
        (_HOUR, "hour", "an", 22 * _HOUR),
    ):
        if seconds < limit:
            return _about(seconds / unit, name, article)
    return _about(seconds / _DAY, "day", "a")


def _about(count: float, name: str, article: str) -> str:
    whole = max(1, round(count))
    return f"about {article} {name}" if whole == 1 else f"about {whole} {name}s"

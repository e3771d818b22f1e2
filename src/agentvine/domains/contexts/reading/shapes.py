"""Looking into parsed files of any shape: what is not as expected is as if it were not there."""

from collections.abc import Mapping
from typing import Any, cast

MAX_NAME = 200


def table(value: object, *path: str) -> dict[str, Any]:
    """The object at a path; empty where there is none."""
    for key in path:
        value = cast("Mapping[str, Any]", value).get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        return {}
    found = cast("Mapping[object, Any]", value)
    return {str(key)[:MAX_NAME]: item for key, item in found.items()}


def sequence(value: object) -> list[Any]:
    """The list; empty where it is none."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def word(value: object) -> str:
    """A short text on one line; empty where it is none."""
    return " ".join(value.split())[:MAX_NAME] if isinstance(value, str) else ""


def number(value: object) -> float | None:
    """The finite number; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e15 else None  # NaN is not smaller either

"""Values for people's eyes, on pages."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"))
_MAX_DIFF_LINES = 2000
_KINDS = (("+++", "head"), ("---", "head"), ("@@", "hunk"), ("+", "added"), ("-", "removed"))
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


def age(when: datetime | None, now: datetime) -> str:
    """How long ago, or in how long: ``3 minutes ago``, ``in 2 hours``, ``just now``; or nothing."""
    if when is None:
        return ""
    seconds = (now - when).total_seconds()
    for size, unit in _UNITS:
        if abs(seconds) >= size:
            count = int(abs(seconds) // size)
            amount = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"{amount} ago" if seconds > 0 else f"in {amount}"
    return "just now" if seconds >= 0 else "in less than a minute"


def shortened(text: str, limit: int) -> str:
    """The text's beginning, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + _ELLIPSIS


def tool_words(tool_input: Mapping[str, Any] | None) -> str:
    """What a tool is to be given: a command as it would be typed, all else as JSON."""
    if not tool_input:
        return ""
    command = tool_input.get("command")
    if isinstance(command, str) and tool_input.keys() <= {"command", "description"}:
        return command
    return json.dumps(tool_input, indent=2, ensure_ascii=False)


def diff_lines(diff: str) -> Iterator[tuple[str, str]]:
    """Each line of a diff with what it is; of a very long one the beginning."""
    lines = diff.splitlines()
    for line in lines[:_MAX_DIFF_LINES]:
        kind = next((kind for begins, kind in _KINDS if line.startswith(begins)), "same")
        yield kind, line
    if len(lines) > _MAX_DIFF_LINES:
        yield "hunk", f"{_ELLIPSIS} and {len(lines) - _MAX_DIFF_LINES} lines more"

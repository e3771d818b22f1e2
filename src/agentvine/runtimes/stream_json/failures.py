"""What went wrong, from the words of a program that speaks Claude Code's lines."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.events import Failed

_BY_STATUS = {
    401: FailureClass.AUTH_FAILED,
    402: FailureClass.BUDGET_EXHAUSTED,
    403: FailureClass.AUTH_FAILED,
    404: FailureClass.MODEL_INVALID,
    413: FailureClass.CONTEXT_OVERFLOW,
    429: FailureClass.RATE_LIMITED,
}
_BY_REASON = {
    "prompt_too_long": FailureClass.CONTEXT_OVERFLOW,
    "aborted_streaming": FailureClass.CANCELLED,
    "aborted_tools": FailureClass.CANCELLED,
}
_BY_SUBTYPE = {
    "error_max_turns": FailureClass.LIMIT_EXCEEDED,
    "error_max_budget_usd": FailureClass.BUDGET_EXHAUSTED,
}
_BY_WORDS = (
    (r"no conversation found|no saved session|session .* not found", FailureClass.RESUME_REFUSED),
    (r"prompt is too long|context (length|window)", FailureClass.CONTEXT_OVERFLOW),
    (r"budget exceeded|budget_exceeded|budget does not allow", FailureClass.BUDGET_EXHAUSTED),
    (r"usage limit|credit balance|insufficient_quota|quota", FailureClass.QUOTA_EXHAUSTED),
    (r"rate.?limit|\b429\b", FailureClass.RATE_LIMITED),
    (r"invalid api key|/login|not logged in|authenticat|unauthorized", FailureClass.AUTH_FAILED),
    (r"unrecognized.model|model .*(not found|not exist)|issue with the selected model",
     FailureClass.MODEL_INVALID),
    (r"overloaded|connection|econn|timed? ?out|\b5\d\d\b", FailureClass.NETWORK_FAILED),
)  # fmt: skip
_STATUS = re.compile(r"(?:API Error: |error )\(?(\d{3})\b|^\[?(\d{3})\b")


def failure_of_result(result: Mapping[str, Any], resets_at: datetime | None) -> Failed | None:
    """The failure that a last event tells of; None when it tells of success."""
    if result.get("subtype") == "success" and not result.get("is_error"):
        return None
    message = _message_of(result)
    failure_class = _class_of(result, message)
    is_limit = failure_class in {FailureClass.RATE_LIMITED, FailureClass.QUOTA_EXHAUSTED}
    if is_limit and resets_at is not None:
        # A window of a subscription, rather than too many requests in a minute.
        failure_class = FailureClass.QUOTA_EXHAUSTED
    return Failed(
        failure_class=failure_class,
        message=message,
        retry_at=(resets_at or reset_in_words(message)) if is_limit else None,
    )


def failure_of_words(text: str) -> FailureClass | None:
    """The failure that a text tells of, if it is one of those that we know."""
    for pattern, failure_class in _BY_WORDS:
        if re.search(pattern, text, re.IGNORECASE):
            return failure_class
    return None


def reset_in_words(text: str) -> datetime | None:
    """The time that a message has after a bar: ``limit reached|1790000000``."""
    found = re.search(r"\|(\d{10})\b", text)
    return datetime.fromtimestamp(int(found[1]), UTC) if found else None


def _class_of(result: Mapping[str, Any], message: str) -> FailureClass:
    status = result.get("api_error_status")
    if not isinstance(status, int) and (found := _STATUS.search(message)):
        status = int(found[1] or found[2])
    if isinstance(status, int):
        if status in _BY_STATUS:
            return _BY_STATUS[status]
        if status >= 500:
            return FailureClass.NETWORK_FAILED
    told = _BY_REASON.get(str(result.get("terminal_reason")))
    told = told or _BY_SUBTYPE.get(str(result.get("subtype")))
    return told or failure_of_words(message) or FailureClass.TOOL_FAILED


def _message_of(result: Mapping[str, Any]) -> str:
    error: Any = result.get("error")
    told: Any = error.get("message") if isinstance(error, dict) else error  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
    more: list[Any] = result.get("errors") or []
    words: list[Any] = [result.get("result"), told, *more]
    text = "; ".join(str(word) for word in words if word)
    return text or f"The agent ended with {result.get('subtype')}."

"""Which of our classes an agent's error is: the protocol has none, so its words have to tell."""

import re

from agentvine.protocol.enums import FailureClass
from agentvine.runtimes.json_rpc import AUTH_REQUIRED, RemoteError

# The first that fits counts. Numbers are HTTP statuses, which most agents put into their text.
_SIGNS: tuple[tuple[FailureClass, tuple[str, ...]], ...] = (
    (
        FailureClass.BUDGET_EXHAUSTED,
        # The gateway's own words are the second, which some agents show without anything else.
        ("budget[_ ]exceeded", "budget does not allow", "budget is used up", r"\b402\b"),
    ),
    (FailureClass.QUOTA_EXHAUSTED, ("insufficient_quota", "quota", "credit balance", "billing")),
    (FailureClass.RATE_LIMITED, ("rate[_ -]?limit", "too many requests", r"\b429\b")),
    (
        FailureClass.CONTEXT_OVERFLOW,
        ("context (?:window|length)", "prompt is too long", "context_length_exceeded"),
    ),
    (
        FailureClass.MODEL_INVALID,
        (
            r"model\b.{0,80}(?:not found|does not exist|not supported|not allowed)",
            "(?:invalid|unknown|unrecognized|selected) model",
            "model_?not_?found",
        ),
    ),
    (
        FailureClass.AUTH_FAILED,
        ("authenticat", "unauthori[sz]ed", "api[ _-]?key", r"log ?in\b", r"\b401\b", r"\b403\b"),
    ),
    (
        FailureClass.NETWORK_FAILED,
        (
            "ECONNREFUSED|ECONNRESET|ENOTFOUND|ETIMEDOUT",
            "connection|fetch failed|network|socket",
            r"overloaded|unavailable|\b5\d\d\b",
        ),
    ),
)


def class_of(error: RemoteError) -> FailureClass:
    """Why the agent could not go on."""
    if error.code == AUTH_REQUIRED:
        return FailureClass.AUTH_FAILED
    return class_of_text(f"{error.code} {error.text} {error.raw}") or FailureClass.CRASHED


def class_of_text(text: str) -> FailureClass | None:
    """The same from words alone; None when they name nothing that we know."""
    for failure_class, patterns in _SIGNS:
        if any(re.search(pattern, text, re.IGNORECASE) for pattern in patterns):
            return failure_class
    return None

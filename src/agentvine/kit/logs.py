"""Logs of servers and workers: JSON in production, readable lines at a terminal; never a secret.

A line that cannot be written, because the reader of our output is gone or the disk is full, is
lost: what it tells of goes on all the same.
"""

import logging
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, cast

import structlog

from agentvine.kit.redaction import MASK, mask_shapes

_SECRET_KEYS = frozenset({"password", "token", "secret", "authorization", "secret_key"})
_SECRET_ENDS = ("_password", "_token", "_secret")
_OURS = "agentvine"
_TALKATIVE = ("uvicorn.error", "httpx2")
"""The second writes every address that it asks, with its query."""


def configure_logging(*, level: str, as_json: bool) -> None:
    """Send structured logs, and those of libraries, to standard error.

    Args:
        level: The least that is written: DEBUG, INFO, WARNING or ERROR.
        as_json: One JSON object a line, instead of lines for people.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            # First: nothing is spent on lines that are not written.
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared)
    )
    root = logging.getLogger()
    root.handlers = [handler]
    # Libraries tell at DEBUG what they send and store, secrets and all: that is never written.
    root.setLevel("INFO" if level == "DEBUG" else level)
    logging.getLogger(_OURS).setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide tokens, passwords and what is named like them; the last processor before output."""
    for key, value in event.items():
        event[key] = _redacted(key, value)
    return event


def _redacted(key: str, value: Any) -> Any:
    name = key.lower()
    if name in _SECRET_KEYS or name.endswith(_SECRET_ENDS):
        return MASK
    if isinstance(value, str):
        return mask_shapes(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {inner: _redacted(str(inner), item) for inner, item in items}
    if isinstance(value, list | tuple):
        return [_redacted("", item) for item in cast("Sequence[Any]", value)]
    return value

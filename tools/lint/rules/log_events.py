"""A log line is a constant name with fields, not a sentence with values in it.

``log.info(f"claimed {order}")`` cannot be searched, counted or redacted: the value, which may be a
secret, is in the text before any processor sees it. Write ``log.info("work_order.claimed",
order=order.id)``.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
_LOGGERS = {"log", "logger", "_log", "_logger"}


def check(source: SourceFile) -> Iterator[Finding]:
    """Log calls whose event is put together from values."""
    for node in source.nodes(ast.Call):
        called = node.func
        if not isinstance(called, ast.Attribute) or called.attr not in _LEVELS or not node.args:
            continue
        name = called.value.attr if isinstance(called.value, ast.Attribute) else None
        name = called.value.id if isinstance(called.value, ast.Name) else name
        if name in _LOGGERS and isinstance(node.args[0], ast.JoinedStr | ast.BinOp):
            yield Finding.at(node, "values in a log event: name the event, pass them as fields")


RULE = Rule(
    code="AV024",
    title="log events are constants; values are fields",
    scope=Scope(include=("src/agentvine/*",)),
    words=("log",),
    check=check,
    good=(
        Sample("src/agentvine/worker/run.py", 'log.info("work_order.claimed", order=order.id)\n'),
    ),
    bad=(
        Sample("src/agentvine/worker/run.py", 'log.info(f"claimed {order}")\n'),
        Sample("src/agentvine/worker/run.py", 'self._log.error("lost " + name)\n'),
    ),
)

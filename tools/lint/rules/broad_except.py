"""Catching everything is for the last line of defence, not for getting on with it.

``except Exception`` also catches the typo, the cancelled transaction and the bug that a test would
have shown; the program goes on with half a result. It may stand where one failure must not end its
neighbours: the supervisor of a loop, the boundary of a job, the last resort of HTTP or the CLI.
There it logs with the traceback and says what happens next. Cleaning up and raising again is fine.
"""

import ast
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

BOUNDARIES = Scope(
    include=(
        "src/agentvine/db/hints.py",
        "src/agentvine/db/session.py",
        "src/agentvine/kit/gathering.py",
        "src/agentvine/kit/supervis*",
        "src/agentvine/*/jobs.py",
        "src/agentvine/http/problems.py",
        "src/agentvine/server/background*",
        "src/agentvine/worker/attempt.py",
        "src/agentvine/worker/heartbeat.py",
        "src/agentvine/worker/shipping.py",
        "src/agentvine/worker/upkeep.py",
    )
)
"""Files with such a boundary; another place is added here, or escaped with its reason."""


def check(source: SourceFile) -> Iterator[Finding]:
    """Handlers of everything that do not end by raising again."""
    for node in source.nodes(ast.ExceptHandler):
        if _catches_everything(node.type) and not _raises_again(node):
            message = "catches everything: name the errors, or give the boundary's reason"
            yield Finding(node.lineno, message)


def _catches_everything(caught: ast.expr | None) -> bool:
    if isinstance(caught, ast.Tuple):
        return any(_catches_everything(each) for each in caught.elts)
    return caught is None or (
        isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"}
    )


def _raises_again(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise)


RULE = Rule(
    code="AV007",
    title="except Exception stands at boundaries only",
    scope=Scope(include=("src/agentvine/*",), exclude=BOUNDARIES.include),
    words=("except",),
    check=check,
    good=(
        Sample("src/agentvine/git/run.py", "try:\n    f()\nexcept OSError:\n    pass\n"),
        Sample("src/agentvine/kit/supervision.py", "try:\n    f()\nexcept Exception:\n    log()\n"),
        Sample(
            "src/agentvine/git/run.py", "try:\n    f()\nexcept BaseException:\n    g()\n    raise\n"
        ),
    ),
    bad=(
        Sample("src/agentvine/git/run.py", "try:\n    f()\nexcept Exception:\n    pass\n"),
        Sample("src/agentvine/git/run.py", "try:\n    f()\nexcept:\n    pass\n"),
        Sample(
            "src/agentvine/git/run.py",
            "try:\n    f()\nexcept (OSError, Exception) as e:\n    g(e)\n",
        ),
    ),
)

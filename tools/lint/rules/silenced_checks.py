"""A comment that silences a checker names what it silences, and why that is right here.

A bare ``noqa`` or ``type: ignore`` also hides the next mistake on that line, and without a reason
nobody dares to remove it.
"""

import io
import re
import tokenize
from collections.abc import Iterator

from tools.lint.rule import Finding, Rule, Sample, Scope
from tools.lint.source import SourceFile

_SILENCER = re.compile(r"#\s*(?:ruff:\s*)?(?:noqa|type:\s*ignore|pyright:\s*\w+)\b", re.IGNORECASE)
_CODED = re.compile(
    r"#\s*(?:noqa:\s*[A-Z]+[0-9]+(?:,\s*[A-Z]+[0-9]+)*"
    r"|type:\s*ignore\[[\w, -]+\]"
    r"|pyright:\s*ignore\[\w+(?:,\s*\w+)*\])"
)
_REASON = re.compile(r"\s*(?:-|#)\s*\S.{3,}")


def check(source: SourceFile) -> Iterator[Finding]:
    """Silencing comments without a code, or without a reason beside them or on the line above."""
    if not _SILENCER.search(source.text):
        return
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type != tokenize.COMMENT or not _SILENCER.search(token.string):
            continue
        coded = _CODED.search(token.string)
        line = token.start[0]
        above = source.lines[line - 2].strip() if line > 1 else ""
        if coded is None:
            yield Finding(line, "silences a checker without naming a code: `# noqa: S105 - why`")
        elif not _REASON.match(token.string, coded.end()) and not above.startswith("# "):
            yield Finding(line, "silences a check without a reason: `# noqa: S105 - why`")


RULE = Rule(
    code="AV008",
    title="a silenced check has its code and its reason",
    scope=Scope(include=("src/*.py", "tests/*.py", "tools/*.py")),
    words=("noqa", "NOQA", "ignore", "pyright:"),
    check=check,
    good=(
        Sample("src/agentvine/a.py", "x = 1  # noqa: S105 - the name of a header, no secret\n"),
        Sample("src/agentvine/a.py", "x = y  # pyright: ignore[reportAny]  # the driver's type\n"),
        Sample("src/agentvine/a.py", "# A name of a header.\nx = 1  # noqa: S105\n"),
        Sample("src/agentvine/a.py", 'text = "# noqa"\n'),
    ),
    bad=(
        Sample("src/agentvine/a.py", "x = 1  # noqa\n"),
        Sample("src/agentvine/a.py", "x = 1  # noqa: S105\n"),
        Sample("src/agentvine/a.py", "x = 1  # type: ignore\n"),
        Sample("src/agentvine/a.py", "x = 1  # type: ignore # the reason is here\n"),
        Sample("tests/a.py", "x = 1  # pyright: ignore[reportAny]\n"),
        Sample("tests/a.py", "# ruff: noqa: F401 - re-exported names\n"),
        Sample("tests/a.py", "# pyright: basic\n"),
    ),
)

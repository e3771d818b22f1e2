"""Comments that let a line through: ``# lint: allow AV001 (the reason)``."""

import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

from tools.lint.rule import Finding
from tools.lint.source import SourceFile

_MARK = "lint: allow"
_FORM = re.compile(r"lint: allow (?P<codes>AV\d{3}(?:, ?AV\d{3})*) \((?P<reason>[^)]{8,})")


@dataclass(frozen=True, slots=True)
class Escape:
    """The codes one comment lets through, and the line it speaks of."""

    comment_line: int
    target_line: int
    codes: tuple[str, ...]

    def covers(self, code: str, finding: Finding) -> bool:
        """Whether this comment was written for that finding."""
        last = max(finding.line, finding.end_line)
        return code in self.codes and finding.line <= self.target_line <= last


def read_escapes(source: SourceFile) -> tuple[list[Escape], list[Finding]]:
    """The escapes of a file, and a finding for each one that is not well formed."""
    escapes: list[Escape] = []
    wrong: list[Finding] = []
    if _MARK not in source.text:
        return escapes, wrong
    for line, text, stands_alone in _comments(source):
        if _MARK not in text:
            continue
        form = _FORM.search(text)
        if form is None:
            wrong.append(Finding(line, "write `lint: allow AV000 (why this line may)`"))
            continue
        codes = tuple(code.strip() for code in form["codes"].split(","))
        target = _next_code_line(source, line) if stands_alone else line
        escapes.append(Escape(line, target, codes))
    return escapes, wrong


def _comments(source: SourceFile) -> Iterator[tuple[int, str, bool]]:
    """Each comment as (line, text, whether nothing else stands on its line)."""
    if not source.is_python:
        for number, line in enumerate(source.lines, start=1):
            yield number, line, False
        return
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string, not token.line[: token.start[1]].strip()


def _next_code_line(source: SourceFile, line: int) -> int:
    for number in range(line, len(source.lines)):
        text = source.lines[number].strip()
        if text and not text.startswith("#"):
            return number + 1
    return line

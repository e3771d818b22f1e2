"""What a rule is, and what it finds."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tools.lint.source import SourceFile


@dataclass(frozen=True, slots=True)
class Finding:
    """One place that breaks a rule; an escape counts on any line from ``line`` to ``end_line``."""

    line: int
    message: str
    end_line: int = 0

    @classmethod
    def at(cls, node: ast.expr | ast.stmt | ast.keyword, message: str) -> "Finding":
        """A finding that spans an expression or a simple statement."""
        return cls(node.lineno, message, node.end_lineno or node.lineno)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which files a rule reads: shell patterns over paths, where ``*`` also crosses slashes."""

    include: tuple[str, ...]
    exclude: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        """Whether a file with this path is to be checked."""
        return any(fnmatchcase(path, pattern) for pattern in self.include) and not any(
            fnmatchcase(path, pattern) for pattern in self.exclude
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """A small file that a rule must pass, or must refuse."""

    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A house rule; ``check`` yields what is wrong in one file."""

    code: str
    title: str
    scope: Scope
    check: Callable[[SourceFile], Iterator[Finding]]
    good: tuple[Sample, ...]
    bad: tuple[Sample, ...]
    words: tuple[str, ...] = ()
    """Where given, only a file that holds one of these strings can break the rule."""

    def findings(self, source: SourceFile) -> Iterator[Finding]:
        """What the rule finds in this file, escapes not yet considered."""
        if not self.scope.covers(source.path):
            return iter(())
        if self.words and not any(word in source.text for word in self.words):
            return iter(())
        return self.check(source)

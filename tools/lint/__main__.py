"""``python -m tools.lint [paths]``: prints ``file:line: code message``; exits 1 on a finding."""

import argparse
import sys
import textwrap
from pathlib import Path

from tools.lint import engine
from tools.lint.rules import RULES, explanation
from tools.lint.rules.file_size import WARN_LINES, lines_above


def main(arguments: list[str] | None = None) -> int:
    """Run the linter, or explain it; the exit status."""
    options = _parser().parse_args(arguments)
    if options.list:
        for rule in RULES:
            print(f"{rule.code} {rule.title}")
        return 0
    if options.explain:
        return _explain(options.explain)
    root: Path = options.root.resolve()
    reports = engine.lint_tree(root, options.paths)
    for report in reports:
        print(report)
    if options.warnings:
        for path in engine.list_files(root, options.paths):
            if (count := lines_above(root / path, WARN_LINES)) is not None:
                print(f"{path}:1: warning: {count} lines; think of a split above {WARN_LINES}")
    return 1 if reports else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.lint", description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders; default: all")
    parser.add_argument("--root", type=Path, default=engine.ROOT, help="the repository's folder")
    parser.add_argument("--list", action="store_true", help="print the rules and stop")
    parser.add_argument("--explain", metavar="CODE", help="print one rule's reasons and samples")
    parser.add_argument("--warnings", action="store_true", help="also name files that grow large")
    return parser


def _explain(code: str) -> int:
    rule = next((rule for rule in RULES if rule.code == code.upper()), None)
    if rule is None:
        print(f"no rule {code}; see --list", file=sys.stderr)
        return 2
    print(f"{rule.code} {rule.title}\n\n{explanation(rule)}")
    for title, samples in (("Good", rule.good), ("Bad", rule.bad)):
        for sample in samples:
            print(f"\n{title}, in {sample.path}:\n{textwrap.indent(sample.text.strip(), '    ')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Reports without secrets: the worker cleans what it sends, and the server what it gets."""

from collections.abc import Callable
from typing import Any

from agentvine.kit.redaction import clean_value
from agentvine.protocol.queue import ExecutionReport


def cleaned_report(report: ExecutionReport, clean: Callable[[str], str]) -> ExecutionReport:
    """A report whose texts are cleaned.

    The diff stays as it is: what a reviewer sees must be what would be merged.
    """
    parts = (report.tests, report.change, report.answer)
    if not report.metrics and all(part is None for part in parts):
        return report  # there is no text in it
    changes: dict[str, Any] = {"metrics": clean_value(report.metrics, clean)}
    if (tests := report.tests) is not None:
        cases = [
            case.model_copy(update={"name": clean(case.name), "message": clean(case.message)})
            for case in tests.failed_cases
        ]
        changes["tests"] = tests.model_copy(
            update={
                "command": clean(tests.command),
                "output_tail": clean(tests.output_tail),
                "failed_cases": cases,
            }
        )
    if (change := report.change) is not None:
        notes = [clean(note) for note in change.impact_notes]
        changes["change"] = change.model_copy(update={"impact_notes": notes})
    if report.answer is not None:
        changes["answer"] = clean(report.answer)
    return report.model_copy(update=changes)

"""What tests, scanners and benchmarks said, as three numbers from 0 to 100.

docs/explanation/contexts.md tells people how they are computed.
"""

import json
from collections.abc import Iterable
from typing import Any

from defusedxml.ElementTree import fromstring

from agentvine.domains.contexts.reading.shapes import number, sequence, table, word

_SEVERITY = {"HIGH": 10.0, "MEDIUM": 3.0, "LOW": 1.0}
_CONFIDENCE = {"HIGH": 1.0, "MEDIUM": 0.6, "LOW": 0.3}
_VULNERABILITY = 10.0
"""What each known vulnerability of a dependency takes: pip-audit tells no severity."""


class ReportUnusable(ValueError):
    """The file is not such a report."""


def coverage_of(content: str) -> float:
    """Percent of lines covered, from Cobertura's XML or coverage.py's JSON.

    Raises:
        ReportUnusable: It is neither.
    """
    if content.lstrip().startswith("{"):
        rate = number(table(json.loads(content), "totals").get("percent_covered"))
        return _bounded(rate)
    root = fromstring(content)
    valid, covered = _attribute(root.get("lines-valid")), _attribute(root.get("lines-covered"))
    if valid and covered is not None:
        return _bounded(100 * covered / valid)
    rate = _attribute(root.get("line-rate"))
    return _bounded(None if rate is None else 100 * rate)


def security_of(bandit: str | None, pip_audit: str | None) -> float:
    """100, less what each finding takes by its severity and confidence, down to 0.

    Raises:
        ReportUnusable: One of them is no such report.
    """
    taken = 0.0
    if bandit is not None:
        taken += sum(_bandit(json.loads(bandit)))
    if pip_audit is not None:
        taken += sum(_pip_audit(json.loads(pip_audit)))
    return _bounded(max(0.0, 100.0 - taken))


def performance_of(content: str) -> float:
    """What a benchmark file says.

    ``{"score": 93.5}`` is taken as it is. Of ``{"benchmarks": {"name": {"value": 1.2, "target":
    1.0}}}``, where less is better, each counts by how near it comes to its target, and all alike.

    Raises:
        ReportUnusable: It is neither.
    """
    document = json.loads(content)
    score = number(table(document).get("score"))
    if score is not None:
        return _bounded(score)
    reached: list[float] = []
    for each in table(document, "benchmarks").values():
        value, target = number(table(each).get("value")), number(table(each).get("target"))
        if value is None or target is None or value < 0 or target <= 0:
            raise ReportUnusable("each benchmark needs a value and a target")
        reached.append(min(1.0, target / value) if value else 1.0)
    return _bounded(100 * sum(reached) / len(reached) if reached else None)


def _bandit(document: Any) -> Iterable[float]:
    if "results" not in table(document):
        raise ReportUnusable("bandit's JSON has results")
    for each in sequence(table(document)["results"]):
        severity = word(table(each).get("issue_severity")).upper()
        confidence = word(table(each).get("issue_confidence")).upper()
        yield _SEVERITY.get(severity, 1.0) * _CONFIDENCE.get(confidence, 1.0)


def _pip_audit(document: Any) -> Iterable[float]:
    if "dependencies" not in table(document):
        raise ReportUnusable("pip-audit's JSON has dependencies")
    for package in sequence(table(document)["dependencies"]):
        yield _VULNERABILITY * len(sequence(table(package).get("vulns")))


def _bounded(score: float | None) -> float:
    if score is None or not 0 <= score <= 100:
        raise ReportUnusable("it tells no number from 0 to 100")
    return round(score, 2)


def _attribute(text: str | None) -> float | None:
    try:
        return number(float(text)) if text else None
    except ValueError:
        return None

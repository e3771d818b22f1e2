"""The process: ``{"files": {path: text}, "reports": {kind: text}, "cpu_seconds": n}`` to facts."""

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar
from xml.etree.ElementTree import ParseError  # the error alone; defusedxml parses

import yaml

from agentvine.domains.contexts.reading import dependencies, deployment, reports

T = TypeVar("T")

_MEMORY_BYTES = 768 * 1024 * 1024
_MAX_DEPENDENCIES = 3000
_UNREADABLE = (ValueError, RecursionError, ParseError, yaml.YAMLError)
"""What parsers raise for what they cannot read; hostile XML is a ValueError of defusedxml."""


def read_all(files: dict[str, str], given: dict[str, str]) -> dict[str, Any]:
    """All facts, and in sentences what could not be read."""
    facts: dict[str, Any] = {"dependencies": {}, "deployment": {}, "metrics": {}, "notes": []}
    for path, content in files.items():
        _read_file(facts, path, content)
    _read_reports(facts, given)
    return facts


def _read_file(facts: dict[str, Any], path: str, content: str) -> None:
    parse = dependencies.parser_of(path)
    if parse is not None:
        found = _attempt(facts, path, lambda: [asdict(each) for each in parse(content)])
        if found is not None:
            facts["dependencies"][path] = found[:_MAX_DEPENDENCIES]
    deployed = deployment.parser_of(path)
    if deployed is not None:
        kind, read = deployed
        parts = _attempt(facts, path, lambda: read(content))
        # YAML in such a folder is not always an object of a cluster.
        if parts is not None and (kind != "kubernetes" or parts["objects"]):
            facts["deployment"].setdefault(kind, []).append({"path": path, **parts})


def _read_reports(facts: dict[str, Any], given: dict[str, str]) -> None:
    wanted: dict[str, tuple[str, Callable[[], float]]] = {}
    if "coverage" in given:
        wanted["test_coverage"] = "coverage", lambda: reports.coverage_of(given["coverage"])
    if "bandit" in given or "pip_audit" in given:
        found = given.get("bandit"), given.get("pip_audit")
        wanted["security_score"] = "security", lambda: reports.security_of(*found)
    if "benchmark" in given:
        wanted["performance_score"] = (
            "benchmark",
            lambda: reports.performance_of(given["benchmark"]),
        )
    for metric, (name, read) in wanted.items():
        score = _attempt(facts, f"the {name} report", read)
        if score is not None:
            facts["metrics"][metric] = score


def _attempt(facts: dict[str, Any], what: str, read: Callable[[], T]) -> T | None:
    try:
        return read()
    except _UNREADABLE as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        facts["notes"].append(f"{what} could not be read: {why}.")
        return None


def _limit(cpu_seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    if sys.platform == "linux":  # others do not hold it; the time is limited there, too
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    _limit(asked["cpu_seconds"])
    json.dump(read_all(asked["files"], asked["reports"]), sys.stdout)

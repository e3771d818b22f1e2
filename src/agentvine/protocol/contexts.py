"""Snapshots of repositories on the wire."""

import uuid
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, SecretStr, StringConstraints

from agentvine.protocol.base import Input, Output, Verbatim
from agentvine.protocol.enums import ContextStatus

MAX_REPORT_CHARACTERS = 3 * 1024 * 1024
MAX_VARIABLES = 500
MAX_VALUE = 32 * 1024

Report = Annotated[str, StringConstraints(max_length=MAX_REPORT_CHARACTERS)]


class ReportsIn(Verbatim):
    """What tools said about the commit; each outranks the file in the repository."""

    coverage: Report | None = None
    """Cobertura's XML, or coverage.py's JSON."""
    bandit: Report | None = None
    """``bandit --format json``."""
    pip_audit: Report | None = None
    """``pip-audit --format json``."""
    benchmark: Report | None = None
    """``{"score": 93.5}``, or benchmarks with values and targets."""


class ContextCreateIn(Input):
    """A snapshot to be taken."""

    repository_id: uuid.UUID
    name: str | None = Field(default=None, min_length=1, max_length=255)
    branch: str | None = Field(default=None, min_length=1, max_length=200)
    """None: the repository's default branch."""
    reports: ReportsIn = ReportsIn()


class VariableIn(Verbatim):
    """The value of an environment variable; no answer shows it again."""

    value: SecretStr = Field(max_length=MAX_VALUE)


class MetricsOut(Output):
    """How good the state was, each from 0 to 100; None where nobody measured."""

    test_coverage: float | None
    security_score: float | None
    performance_score: float | None


class ContextSummaryOut(MetricsOut):
    """A snapshot without its lists."""

    id: uuid.UUID
    name: str
    type: str
    status: ContextStatus
    project_id: uuid.UUID | None
    repository_id: uuid.UUID | None
    branch: str | None
    commit_id: str | None
    """None: it has not been filled yet."""
    file_count: int
    total_bytes: int
    taken_at: datetime | None
    created_at: datetime
    updated_at: datetime


class DependencyOut(Output):
    """What a manifest asks for."""

    ecosystem: str
    name: str
    requirement: str


class VariableOut(Output):
    """An environment variable; its value is not shown."""

    name: str
    value: str = "********"


class ContextOut(ContextSummaryOut):
    """A snapshot, without its files."""

    dependencies: list[DependencyOut]
    environment: list[VariableOut]
    deployment: dict[str, Any]
    """By kind (compose, dockerfile, kubernetes, procfile, platform), files and what they name."""
    notes: list[str]
    """In sentences what was not read."""


class ContextFileOut(Output):
    """A file as it was."""

    path: str
    kind: str
    """``file``, ``executable``, ``link`` or ``submodule``."""
    hash: str
    """Git's."""
    bytes: int
    requires: list[str] | None = None
    """Of a manifest, the names of what it asks for."""


class ContextContentOut(Output):
    """A file with its text."""

    path: str
    hash: str
    content: str


class FileChangeOut(Output):
    """A file that is in only one of two snapshots, or not the same in both."""

    path: str
    change: str
    """``added``, ``removed`` or ``changed``."""
    bytes_before: int | None
    bytes_after: int | None


class DependencyChangeOut(Output):
    """A dependency that is in only one of two snapshots, or wanted otherwise."""

    ecosystem: str
    name: str
    before: str | None
    """None: it was not there; empty: any version."""
    after: str | None


class MetricChangeOut(Output):
    """A number before and after."""

    metric: str
    before: float | None
    after: float | None


class ContextComparisonOut(Output):
    """What differs from one snapshot to another."""

    before: ContextSummaryOut
    after: ContextSummaryOut
    files: list[FileChangeOut]
    files_left_out: int
    """How many more changed files there are."""
    dependencies: list[DependencyChangeOut]
    variables_added: list[str]
    variables_removed: list[str]
    variables_changed: list[str]
    """Those with another value."""
    deployment_added: list[str]
    """Files of deployment, by path."""
    deployment_removed: list[str]
    metrics: list[MetricChangeOut]
    """Those that differ."""

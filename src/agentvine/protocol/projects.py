"""Projects and repositories on the wire."""

import uuid
from datetime import datetime

from pydantic import Field

from agentvine.protocol.base import Edit, Input, Output
from agentvine.protocol.runs import (
    UNLIMITED,
    OrderedLimits,
    OrderedSandbox,
    OrderedWorkspace,
    RunLimits,
    SandboxPolicy,
    WorkspacePolicy,
)

_MAX_DESCRIPTION = 100_000


class ProjectCreateIn(Input):
    """A new project; the caller becomes its owner."""

    name: str = Field(min_length=1, max_length=100)
    description: str | None = Field(default=None, max_length=_MAX_DESCRIPTION)
    github_repo: str | None = Field(default=None, max_length=255, pattern=r"^[\w.-]+/[\w.-]+$")


class ProjectEditIn(Edit):
    """Fields left out stay as they are."""

    may_be_emptied = frozenset({"description", "github_repo"})

    name: str | None = Field(default=None, min_length=1, max_length=100)
    description: str | None = Field(default=None, max_length=_MAX_DESCRIPTION)
    github_repo: str | None = Field(default=None, max_length=255, pattern=r"^[\w.-]+/[\w.-]+$")
    is_active: bool | None = None


class ProjectOut(Output):
    """A project."""

    id: uuid.UUID
    name: str
    description: str | None
    github_repo: str | None
    owner_id: uuid.UUID
    is_active: bool
    row_version: int
    created_at: datetime
    updated_at: datetime


class MemberIn(Input):
    """Somebody who may see (viewer) or work in (developer) a project."""

    username: str = Field(min_length=1, max_length=255)
    role: str = Field(default="developer", pattern="^(developer|viewer)$")


class MemberOut(Output):
    """A member of a project."""

    user_id: uuid.UUID
    username: str
    role: str
    created_at: datetime


class RepositoryCreateIn(Input):
    """A git repository by path on the server's machine, or by URL.

    ``project_id`` may be left out: a project of the repository's name is used or made.
    """

    location: str = Field(min_length=1, max_length=4096)
    name: str | None = Field(default=None, min_length=1, max_length=255)
    project_id: uuid.UUID | None = None
    default_branch: str | None = Field(default=None, min_length=1, max_length=100)
    test_command: str | None = Field(default=None, max_length=10_000)
    sandbox: SandboxPolicy | None = None
    """In what its tasks run; without one they may do what the worker's user may."""
    limits: RunLimits = UNLIMITED
    """What each run may use; a task may ask for less, not for more."""
    workspace: WorkspacePolicy = WorkspacePolicy()
    """What each run finds in its work tree."""
    overlap_waits: bool = True
    """Whether a task waits while another one is at work on files that it touches."""
    trial_merges: bool = True
    """Whether merges of its live changes are tried beforehand, so that conflicts are foreseen."""


class RepositoryEditIn(Edit):
    """Fields left out stay as they are."""

    may_be_emptied = frozenset({"test_command", "sandbox"})

    name: str | None = Field(default=None, min_length=1, max_length=255)
    default_branch: str | None = Field(default=None, min_length=1, max_length=100)
    test_command: str | None = Field(default=None, max_length=10_000)
    sandbox: SandboxPolicy | None = None
    limits: RunLimits | None = None
    workspace: WorkspacePolicy | None = None
    overlap_waits: bool | None = None
    trial_merges: bool | None = None


class RepositoryOut(Output):
    """A registered repository."""

    id: uuid.UUID
    project_id: uuid.UUID | None
    name: str
    path: str
    git_url: str | None
    default_branch: str
    test_command: str | None
    sandbox: OrderedSandbox | None = None
    limits: OrderedLimits = OrderedLimits()
    workspace: OrderedWorkspace = OrderedWorkspace()
    overlap_waits: bool = True
    trial_merges: bool = True
    notes: list[str] = Field(default_factory=list[str])
    """What its registration has found, in sentences; told in the answer to that alone."""
    row_version: int
    created_at: datetime
    updated_at: datetime

"""Where a line comes from, on the wire: from its commit back to what an agent was told."""

import uuid
from datetime import datetime
from decimal import Decimal

from agentvine.protocol.base import Output
from agentvine.protocol.enums import ExecutionStatus, ModificationStatus, TaskStatus


class LineCommit(Output):
    """The commit that wrote the line."""

    id: str
    author: str
    authored_at: datetime
    subject: str
    path: str
    """What the file was called there."""
    line: int


class LineModification(Output):
    """The change that the line came with."""

    id: uuid.UUID
    status: ModificationStatus
    request: str
    requested_by: str
    """A person's name, or what else asked for it."""
    merge_commit: str | None
    applied_at: datetime | None
    reverted_at: datetime | None


class LineExecution(Output):
    """The attempt that made the change."""

    id: uuid.UUID
    attempt: int
    status: ExecutionStatus
    runtime: str | None
    model: str | None
    started_at: datetime


class LineTask(Output):
    """The task that the attempt was at."""

    id: uuid.UUID
    ref: str
    title: str
    status: TaskStatus


class LinePlan(Output):
    """The version of a plan, and which of its steps the task is."""

    id: uuid.UUID
    name: str
    version: int
    step: str | None


class LineAgent(Output):
    """The agent, as it was set up then."""

    id: uuid.UUID
    name: str
    type: str
    revision: int


class LineUsage(Output):
    """What the attempt's calls to language models used."""

    calls: int
    tokens_in: int
    tokens_out: int
    cost_usd: Decimal


class LineOriginOut(Output):
    """A line of a branch, and the way back to why it is there."""

    repository_id: uuid.UUID
    branch: str
    tip: str
    """The commit whose version of the file was looked at."""
    path: str
    line: int
    text: str
    commit: LineCommit
    merge_commit: str | None
    """What brought the commit into the branch, when it did not come by itself."""
    is_ours: bool
    """Whether the commit names a task, a run or a plan of AgentVine, or one of ours knows it."""
    trailers: dict[str, str]
    """What the messages of the two commits say."""
    modification: LineModification | None
    execution: LineExecution | None
    task: LineTask | None
    plan: LinePlan | None
    agent: LineAgent | None
    system_prompt: str | None
    prompt: str | None
    """What the agent was asked to do."""
    usage: LineUsage | None
    notes: list[str]
    """In sentences what is not known any more."""

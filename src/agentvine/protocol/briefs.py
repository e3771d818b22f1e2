"""What an agent is told before it begins, and the session that it tells in turn.

A runtime that drives an agent asks for the brief when its run begins; claims stay as lean as they
are for those that need none. The agent's own session is told as soon as it is seen, so that a later
attempt can go on with it whatever happens to this one.
"""

import uuid

from pydantic import Field

from agentvine.protocol.base import Input, Output
from agentvine.protocol.enums import FailureClass, PermissionLevel


class BriefIn(Input):
    """A worker asks for the brief of the claim it holds."""

    order_id: uuid.UUID
    fence: int


class SessionIn(Input):
    """A worker tells the session of the run that it carries out; a newer one replaces it."""

    order_id: uuid.UUID
    fence: int
    session_id: str = Field(min_length=1, max_length=200)
    model: str | None = Field(default=None, max_length=100)


class NativeSession(Output):
    """A session of an earlier attempt, which only that worker's disk can resume."""

    session_id: str
    runtime: str
    worker_id: uuid.UUID
    execution_id: uuid.UUID
    model: str | None = None


class BriefAnswer(Output):
    """Something that an earlier attempt asked, and what it is to be told."""

    key: str
    question: str
    answer: str


class BriefMessage(Output):
    """Words of a person's that no attempt has heard."""

    author: str
    text: str


class BriefMemory(Output):
    """Something that the agent is to know, as it was remembered."""

    category: str
    key: str
    text: str


class BriefDocument(Output):
    """A document that a rule of the project gives to the task."""

    id: uuid.UUID
    title: str
    version: int
    text: str
    is_whole: bool = True
    """False: only the place that has most to do with the task; there was no room for more."""


class RunBriefOut(Output):
    """What an agent is to do, and how; texts are written for it."""

    instruction: str
    """The title, the description, when it counts as done, and the command that tests it."""
    system_prompt: str | None = None
    rules_file_path: str | None = None
    """A file of the repository with rules to follow."""
    model: str | None = None
    """None: whatever the runtime takes by itself."""
    permission_level: PermissionLevel = PermissionLevel.SUPERVISED
    session: NativeSession | None = None
    """Of the last attempt that had one, unless that is of no use any more."""
    earlier_work: uuid.UUID | None = None
    """The attempt whose unfinished work this one goes on with, where the server has it."""
    summary: str | None = None
    """How the last attempt went, in sentences; None for the first."""
    last_failure: FailureClass | None = None
    answers: list[BriefAnswer] = Field(default_factory=list[BriefAnswer])
    messages: list[BriefMessage] = Field(default_factory=list[BriefMessage])
    memories: list[BriefMemory] = Field(default_factory=list[BriefMemory])
    """What the agent remembers that may be of use here."""
    documents: list[BriefDocument] = Field(default_factory=list[BriefDocument])

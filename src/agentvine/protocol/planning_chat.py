"""The dialogue in which a plan is made, on the wire."""

import uuid
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from agentvine.protocol.base import Input, Output
from agentvine.protocol.documents import Tag
from agentvine.protocol.enums import ArtifactType, ChatSessionStatus
from agentvine.protocol.plans import FilePath

MAX_FILES = 20
MAX_DOCUMENTS = 20
MAX_TAGS = 5


class ChatState(StrEnum):
    """How a message of a dialogue stands."""

    COMPLETE = "complete"
    ANSWERING = "answering"
    """The model speaks; the text is what has come so far."""
    INTERRUPTED = "interrupted"
    """The server ended in the middle; the text is a part, and can be asked for again."""
    FAILED = "failed"
    """The model could not be asked, or broke off; it can be asked again."""


class ChatSayIn(Input):
    """Something said to the model."""

    text: str = Field(min_length=1, max_length=100_000)
    model: str | None = Field(default=None, min_length=1, max_length=100)
    """None: that of the answer before, or the project's default."""
    files: list[FilePath] = Field(default_factory=list[str], max_length=MAX_FILES)
    """Files of the repository, at the plan's target branch, that the model reads for it."""
    documents: list[uuid.UUID] = Field(default_factory=list[uuid.UUID], max_length=MAX_DOCUMENTS)
    """Documents of the project, or for all, that it reads for it."""
    tags: Annotated[list[Tag], Field(max_length=MAX_TAGS)] = Field(default_factory=list[str])
    """The same by their tags: what has most to do with what was said, while there is room."""


class ProposalOut(Output):
    """An artifact that the model proposes; nothing is saved until somebody accepts it."""

    id: uuid.UUID
    artifact_type: ArtifactType | str
    content: Any
    problem: str | None
    """Why it cannot be accepted; None for a valid one."""
    artifact_id: uuid.UUID | None
    """What it became."""


class PlanChatMessageOut(Output):
    """A message of a dialogue, with what it cost."""

    id: uuid.UUID
    role: Literal["user", "assistant"]
    text: str
    state: ChatState
    error: str | None
    author: str | None
    model: str | None
    files: list[str]
    documents: list[uuid.UUID]
    tags: list[str]
    proposals: list[ProposalOut]
    tokens_in: int
    tokens_out: int
    cost_usd: Decimal
    created_at: AwareDatetime


class PlanChatOut(Output):
    """A dialogue beside a version of a plan."""

    id: uuid.UUID
    plan_id: uuid.UUID
    status: ChatSessionStatus
    messages: list[PlanChatMessageOut]
    created_at: datetime


class ChatDeltaOut(Output):
    """A piece of an answer."""

    message_id: uuid.UUID
    text: str

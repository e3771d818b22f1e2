"""What people say to a run while it runs: stand still, go on, and words to steer it by.

The answer to a beat carries what is wanted of a claim (``LeaseControl``), again and again until
the worker has said what became of it (``ControlIn``). So nothing is lost when either side is
started anew, and each may repeat itself.
"""

import uuid
from datetime import datetime
from enum import StrEnum

from pydantic import Field, field_validator

from agentvine.protocol.base import Input, Output, Verbatim
from agentvine.protocol.conversations import MAX_ATTACHMENTS, AttachmentOut

MAX_MESSAGE_BYTES = 16 * 1024
MAX_UNREAD_MESSAGES = 100
"""So many messages of one run may wait to be handed over."""
MESSAGES_PER_BEAT = 10


class WorkerControls(Input):
    """What a worker can do to a run on a person's behalf."""

    can_pause: bool = True
    steers: list[str] = Field(default_factory=list[str], max_length=50)
    """The runtimes whose runs take messages."""
    takes_files: bool = False
    """Whether it fetches the files that come with messages and answers."""


class SteeringMessage(Output):
    """One message to a run; the numbers of an attempt's messages begin at 1, without gaps."""

    number: int
    author: str
    text: str
    created_at: datetime
    attachments: list[AttachmentOut] = Field(default_factory=list[AttachmentOut])
    """Files that the worker fetches and lays beside it."""


class LeaseControl(Output):
    """What is wanted of a claim now, as far as the worker has not said that it is done."""

    is_paused: bool
    messages: list[SteeringMessage] = Field(default_factory=list[SteeringMessage])
    """The first ones not handed over yet, by number."""


class ControlKnown(Input):
    """What a worker has heard of what is wanted of one claim, done or not."""

    order_id: uuid.UUID
    fence: int
    is_paused: bool = False
    messages_to: int = Field(default=0, ge=0)
    """The highest number it has heard of."""


class ControlIn(Input):
    """What a worker has done of it; what is left out has not changed."""

    order_id: uuid.UUID
    fence: int
    is_paused: bool | None = None
    """Whether all of the run's processes stand still."""
    messages_to: int | None = Field(default=None, ge=1)
    """The highest number that was handed to the run; all before it were, too."""


class SteerIn(Verbatim):
    """Words for a run."""

    text: str = Field(min_length=1, max_length=MAX_MESSAGE_BYTES)
    attachments: list[uuid.UUID] = Field(
        default_factory=list[uuid.UUID], max_length=MAX_ATTACHMENTS
    )
    """Files that one has put there for this run."""

    @field_validator("text")
    @classmethod
    def _is_something_of_bounded_size(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("a message of blanks alone says nothing")
        if len(text.encode()) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message has at most {MAX_MESSAGE_BYTES} bytes")
        return text


class MessageState(StrEnum):
    """Where a message stands."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    MISSED = "missed"
    """The attempt it was for ended before it was handed over."""


class RunMessageOut(Output):
    """A message as people see it; ``fence`` tells the attempt it was for."""

    id: uuid.UUID
    order_id: uuid.UUID
    execution_id: uuid.UUID
    fence: int
    number: int
    author: str
    text: str
    state: MessageState
    created_at: datetime
    delivered_at: datetime | None
    attachments: list[AttachmentOut] = Field(default_factory=list[AttachmentOut])

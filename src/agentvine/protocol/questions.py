"""Questions of running work, and the answers to them.

A run asks by POST, and the question is stored before anybody waits; asking again with the same key
gives the same question. Then it waits by GET for the answer, for as long as it takes, over
whatever restarts of either side. The first answer counts.
"""

import json
import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field, field_validator, model_validator

from agentvine.protocol.base import Input, Output, Verbatim
from agentvine.protocol.conversations import MAX_ATTACHMENTS, AttachmentOut

MAX_QUESTION_CHARACTERS = 20_000
MAX_ANSWER_CHARACTERS = 20_000
MAX_TOOL_INPUT_BYTES = 256 * 1024
MAX_QUESTION_DIFF_CHARACTERS = 200_000
MAX_OPTIONS = 50
MAX_WAIT_SECONDS = 55.0
MAX_EXPIRY_SECONDS = 366 * 24 * 3600
MAX_PATTERN_CHARACTERS = 4000


class QuestionKind(StrEnum):
    """What is asked for."""

    QUESTION = "question"
    PERMISSION = "permission"
    """Whether a tool may be used with this input."""
    PLAN = "plan"
    """Whether the agent may go ahead as it proposes."""


class QuestionState(StrEnum):
    """Where a question stands."""

    OPEN = "open"
    ANSWERED = "answered"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"


class AnswerDecision(StrEnum):
    """What an answer comes to."""

    ALLOW = "allow"
    DENY = "deny"
    ANSWER = "answer"
    EXPIRED = "expired"
    """Nobody answered in time."""


class RememberScope(StrEnum):
    """How far an answer to a permission reaches."""

    RUN = "run"
    TASK = "task"
    PROJECT = "project"


class ExpiryPolicy(StrEnum):
    """What happens when nobody answers in time."""

    DENY = "deny"
    DEFAULT = "default"
    """The question's default option is the answer; without one it is denied."""
    FAIL = "fail"
    """The run ends, and its task waits for a person."""
    WAIT = "wait"
    """Nothing: the question stays open."""


class QuestionOption(Output):
    """One of the answers to choose from."""

    label: str = Field(min_length=1, max_length=500)
    description: str = Field(default="", max_length=4000)


class QuestionIn(Verbatim):
    """What a run asks."""

    order_id: uuid.UUID
    fence: int
    key: str = Field(min_length=1, max_length=200)
    kind: QuestionKind = QuestionKind.QUESTION
    text: str = Field(max_length=MAX_QUESTION_CHARACTERS)
    options: list[QuestionOption] = Field(
        default_factory=list[QuestionOption], max_length=MAX_OPTIONS
    )
    allows_text: bool = True
    allows_several: bool = False
    default_option: str | None = Field(default=None, max_length=500)
    tool_name: str | None = Field(default=None, max_length=200)
    tool_input: dict[str, Any] | None = None
    diff: str | None = Field(default=None, max_length=MAX_QUESTION_DIFF_CHARACTERS)
    worktree: str | None = Field(default=None, max_length=4096)
    """Where the run works: what a tool writes elsewhere is not the run's own."""
    expires_in_seconds: float | None = Field(default=None, ge=1, le=MAX_EXPIRY_SECONDS)
    """None: the server's usual time."""
    on_expiry: ExpiryPolicy | None = None
    """None: the server's usual policy."""

    @field_validator("tool_input")
    @classmethod
    def _is_of_bounded_size(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None and len(json.dumps(value)) > MAX_TOOL_INPUT_BYTES:
            raise ValueError(f"a tool's input has at most {MAX_TOOL_INPUT_BYTES} bytes")
        return value


class AnswerIn(Input):
    """What a person answers; what is left out is worked out from the rest."""

    decision: AnswerDecision | None = None
    text: str = Field(default="", max_length=MAX_ANSWER_CHARACTERS)
    choices: list[str] = Field(default_factory=list[str], max_length=MAX_OPTIONS)
    updated_input: dict[str, Any] | None = None
    remember: RememberScope | None = None
    """Answer the same in future without asking, as far as this reaches; permissions only."""
    pattern: str | None = Field(default=None, min_length=1, max_length=MAX_PATTERN_CHARACTERS)
    """Which inputs of the tool that is about, ``*`` for any text; None: this very input."""
    attachments: list[uuid.UUID] = Field(
        default_factory=list[uuid.UUID], max_length=MAX_ATTACHMENTS
    )
    """Files that one has put on the question, to go with the answer."""

    @model_validator(mode="after")
    def _says_something(self) -> "AnswerIn":
        if self.decision is AnswerDecision.EXPIRED:
            raise ValueError("a person allows, denies or answers")
        if not (self.decision or self.text.strip() or self.choices or self.attachments):
            raise ValueError("an answer has a decision, a text, choices or files")
        if self.pattern is not None and self.remember is None:
            raise ValueError("a pattern says what to remember; say how far, too")
        return self


class WithdrawIn(Input):
    """An answer is no longer wanted."""

    order_id: uuid.UUID
    fence: int


class AnswerOut(Output):
    """The answer that counts."""

    decision: AnswerDecision
    text: str = ""
    choices: list[str] = Field(default_factory=list[str])
    updated_input: dict[str, Any] | None = None
    remember: RememberScope | None = None
    author: str
    """Who answered: a user's name, or the rule that did."""
    is_automatic: bool = False
    answered_at: datetime
    attachments: list[AttachmentOut] = Field(default_factory=list[AttachmentOut])
    """Files that came with it."""


class QuestionOut(Output):
    """A question and, once there is one, its answer."""

    id: uuid.UUID
    project_id: uuid.UUID
    task_id: uuid.UUID | None
    """The task that asks; None: a team run does."""
    task_ref: str | None
    task_title: str | None
    team_run_id: uuid.UUID | None
    team_run_title: str | None
    execution_id: uuid.UUID | None
    """The attempt that waits for it, or was the last to ask."""
    key: str
    kind: QuestionKind
    state: QuestionState
    text: str
    options: list[QuestionOption]
    allows_text: bool
    allows_several: bool
    default_option: str | None
    tool_name: str | None
    tool_input: dict[str, Any] | None
    diff: str | None
    asked_at: datetime
    expires_at: datetime | None
    on_expiry: ExpiryPolicy
    why: str
    """Why a person is asked, or who is asked first."""
    answer: AnswerOut | None
    attachments: list[AttachmentOut] = Field(default_factory=list[AttachmentOut])
    """Files that the run has sent with it."""

    @property
    def asked_by(self) -> str:
        """What asks, for people."""
        return self.task_ref or "team run"

    @property
    def title(self) -> str:
        """Of what asks."""
        return self.task_title or self.team_run_title or ""


class RuleEffect(StrEnum):
    """What a rule does, strictest first."""

    DENY = "deny"
    """Never: no answer that was remembered, and no level, outranks it."""
    ASK = "ask"
    """Always ask a person, but for what is remembered."""
    MODEL = "model"
    """Ask a language model first; a person where it cannot tell."""
    ALLOW = "allow"


class RuleIn(Input):
    """What is answered without asking a person."""

    effect: RuleEffect
    tool: str = Field(default="*", min_length=1, max_length=200)
    """The tool's name, ``*`` for any text; the case of letters does not matter."""
    pattern: str = Field(default="*", min_length=1, max_length=MAX_PATTERN_CHARACTERS)
    """The command, path or other input, ``*`` for any text."""
    reason: str = Field(default="", max_length=1000)
    """Told to the agent."""


class RuleOut(Output):
    """A rule; one without a task is the whole project's."""

    id: uuid.UUID
    project_id: uuid.UUID
    task_id: uuid.UUID | None
    execution_id: uuid.UUID | None
    effect: RuleEffect
    tool: str
    pattern: str | None
    """None: one input to the letter, as it was answered."""
    reason: str
    question_id: uuid.UUID | None
    """Whose answer it remembers."""
    created_by: uuid.UUID | None
    created_at: datetime

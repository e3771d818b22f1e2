"""Agents on the wire: the roles of a team, and how each was set up before."""

import uuid
from datetime import datetime
from enum import StrEnum

from pydantic import Field

from agentvine.protocol.base import Edit, Input, Output
from agentvine.protocol.enums import AgentType

MAX_PROMPT = 100_000
MAX_MODELS = 100

_ModelName = Field(min_length=1, max_length=100)


class Effort(StrEnum):
    """How hard a model is to think, where it can be told."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class AgentModelConfig(Input):
    """With which model an agent works, and how; what is left out, its runtime or model decides."""

    runtime: str | None = Field(default=None, min_length=1, max_length=50)
    """What drives it, for tasks that do not say; None: they must."""
    model: str | None = Field(default=None, min_length=1, max_length=100)
    """A model, or an alias of one."""
    allowed_models: list[str] = Field(default_factory=list[str], max_length=MAX_MODELS)
    """Names or patterns of the models that it may use; none: any that its project allows."""
    aliases: dict[str, str] = Field(default_factory=dict[str, str], max_length=MAX_MODELS)
    """Names of its own for models."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_output_tokens: int | None = Field(default=None, ge=1, le=10_000_000)
    effort: Effort | None = None
    max_turns: int | None = Field(default=None, ge=1, le=10_000)
    """How often it may ask its model in one attempt."""


class AgentCreateIn(Input):
    """A new agent, of a project or (by an admin) for all of them."""

    name: str = Field(min_length=1, max_length=50, pattern=r"^[\w][\w .-]*$")
    """How people call and mention it."""
    type: AgentType
    project_id: uuid.UUID | None = None
    model_settings: AgentModelConfig = AgentModelConfig()
    system_prompt: str | None = Field(default=None, max_length=MAX_PROMPT)
    rules_file_path: str | None = Field(default=None, min_length=1, max_length=500)
    """A file of the repository that it works in, read when a run begins."""


class AgentEditIn(Edit):
    """Fields left out stay as they are; what is given makes a new revision."""

    may_be_emptied = frozenset({"system_prompt", "rules_file_path"})

    name: str | None = Field(default=None, min_length=1, max_length=50, pattern=r"^[\w][\w .-]*$")
    model_settings: AgentModelConfig | None = None
    system_prompt: str | None = Field(default=None, max_length=MAX_PROMPT)
    rules_file_path: str | None = Field(default=None, min_length=1, max_length=500)
    is_active: bool | None = None
    """An inactive agent gets no new tasks."""


class AgentRestoreIn(Input):
    """Set an agent up as it was; that makes a new revision, and loses none."""

    revision: int = Field(ge=1)


class AgentOut(Output):
    """An agent as it is set up now."""

    id: uuid.UUID
    name: str
    type: AgentType
    project_id: uuid.UUID | None
    model_settings: AgentModelConfig
    system_prompt: str | None
    rules_file_path: str | None
    is_active: bool
    revision: int
    """Grows with every change; `If-Match` takes it."""
    created_at: datetime
    updated_at: datetime


class AgentRevisionOut(Output):
    """How an agent was set up, from one change to the next."""

    revision: int
    name: str
    model_settings: AgentModelConfig
    system_prompt: str | None
    rules_file_path: str | None
    is_active: bool
    changed_by: str
    """Who made this revision."""
    created_at: datetime

"""Providers of models, their keys, and which models may be used, on the wire."""

import uuid
from datetime import datetime
from typing import Annotated

from pydantic import Field, SecretStr

from agentvine.protocol.base import Edit, Input, Output
from agentvine.protocol.enums import ProviderKind

MAX_MODELS = 500
MAX_KEY = 500

ModelName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\s,]+$")]
"""A model as its provider calls it; with ``*`` where a pattern may stand."""
ModelNames = Annotated[list[ModelName], Field(max_length=MAX_MODELS)]
ProviderKey = Annotated[SecretStr, Field(min_length=1, max_length=MAX_KEY)]
"""What a provider knows its customer by."""
ProviderName = Annotated[str, Field(max_length=50, pattern=r"^[a-z0-9][a-z0-9._-]*$")]
BaseUrl = Annotated[str, Field(min_length=8, max_length=500)]


class ProviderCreateIn(Input):
    """A provider; without a project it serves all of them."""

    name: ProviderName
    kind: ProviderKind
    project_id: uuid.UUID | None = None
    base_url: BaseUrl | None = None
    """Left out for one that has an address of its own, such as Anthropic."""
    models: ModelNames = Field(default_factory=list[str])
    """Those that it serves; none named: any."""
    is_free: bool = False
    key: ProviderKey | None = None
    """Its first key."""


class ProviderEditIn(Edit):
    """Fields left out stay as they are."""

    name: ProviderName | None = None
    base_url: BaseUrl | None = None
    models: ModelNames | None = None
    is_free: bool | None = None
    is_active: bool | None = None


class CredentialCreateIn(Input):
    """A key more."""

    name: str = Field(default="", max_length=100)
    key: ProviderKey


class CredentialEditIn(Edit):
    """Fields left out stay as they are; a new key takes the old one's place at once."""

    name: str | None = Field(default=None, min_length=1, max_length=100)
    key: ProviderKey | None = None
    is_active: bool | None = None


class CredentialOut(Output):
    """A key as it may be shown: never itself."""

    id: uuid.UUID
    name: str
    last_four: str
    fingerprint: str
    is_active: bool
    limited_until: datetime | None
    """The provider takes no calls with it before."""
    limit_reason: str | None
    created_at: datetime
    updated_at: datetime


class ProviderOut(Output):
    """A provider with its keys."""

    id: uuid.UUID
    project_id: uuid.UUID | None
    name: str
    kind: ProviderKind
    base_url: str
    models: list[str]
    is_free: bool
    is_active: bool
    is_from_environment: bool
    tested_at: datetime | None
    test_problem: str | None
    created_at: datetime
    updated_at: datetime
    credentials: list[CredentialOut]


class ProviderTestIn(Input):
    """Which of its keys to try; the first good one where none is named."""

    credential_id: uuid.UUID | None = None


class ProviderTestOut(Output):
    """Whether a provider answers."""

    is_ok: bool
    problem: str | None
    duration_ms: int
    models: list[str]
    """Those that it names."""


class ModelRulesIn(Input):
    """Which models may be used, and by which names."""

    project_id: uuid.UUID | None = None
    allowed: ModelNames = Field(default_factory=list[str])
    """Names or patterns; none: any."""
    aliases: dict[ModelName, ModelName] = Field(default_factory=dict[str, str], max_length=100)
    """Names of one's own, and the models that they mean."""
    default_model: ModelName | None = None


class ModelRulesOut(Output):
    """Which models may be used, and by which names."""

    project_id: uuid.UUID | None
    allowed: list[str]
    aliases: dict[str, str]
    default_model: str | None


class ModelOut(Output):
    """A model that may be used."""

    name: str
    aliases: list[str]
    is_default: bool
    provider: str
    """By whom it is served first."""
    provider_id: uuid.UUID
    kind: ProviderKind
    is_free: bool
